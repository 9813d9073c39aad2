import { beforeEach, expect, it } from "vitest";
import { currentCall, type Outbox, UnrecoverableError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

// That it runs after a COMMIT with a positive answer alone is in outcomes.test.ts and its neighbours.
describeEachEngine("persist: on-failure", (engine) => {
  const outboxes = useOutboxes(engine);
  let outbox: Outbox;
  let ran: unknown[];
  let fails: boolean;
  const work = async (what: unknown) => {
    ran.push([what, currentCall()!.attempt]);
    if (fails) throw new Error("down\0");
  };
  beforeEach(() => {
    outbox = outboxes.open({ retry: { initialDelay: 0 } });
    ran = [];
    fails = false;
  });
  const insertsOf = async (action: () => Promise<unknown>) => {
    let inserts = 0;
    const note = ({ sql }: { sql: string }) => void (inserts += /insert into \S*calls/.test(sql) ? 1 : 0);
    outboxes.knex.on("query", note);
    await action();
    outboxes.knex.removeListener("query", note);
    return inserts;
  };

  it("stores nothing of what runs well", async () => {
    const send = outbox.saveToOutbox(work, { name: "send", persist: "on-failure" });
    const byOutbox = outboxes.open({ persist: "on-failure" });
    const sendThere = byOutbox.saveToOutbox(work, { name: "there" });
    const published: unknown[] = [];
    for (const each of [outbox, byOutbox]) {
      each.on("published", ({ call, source, attempt }) => void published.push([call.function, source, attempt]));
    }
    expect(await insertsOf(() => outbox.transaction(() => send(1)))).toBe(0);
    expect(await insertsOf(() => byOutbox.transaction(() => sendThere(2)))).toBe(0);
    await outbox.idle();
    await byOutbox.idle();
    expect(ran).toEqual([[1, 1], [2, 1]]); // prettier-ignore
    expect(published).toEqual([["send", "commit", 1], ["there", "commit", 1]]); // prettier-ignore
    expect(await outboxes.rows()).toEqual([]);
  });

  it("stores what failed, after the run, for the relay to try again", async () => {
    fails = true;
    const send = outbox.saveToOutbox(work, { name: "send", persist: "on-failure", stream: "mail" });
    const failed = deferred<unknown>();
    outbox.on("failed", (event) => failed.resolve({ ...event, rows: outboxes.rows() }));
    const saved = await outbox.transaction(() => send("letter"));
    await outbox.idle();
    expect(await failed.promise).toMatchObject({
      call: { id: saved.id, function: "send", stream: "mail", args: ["letter"] },
      source: "commit",
      attempt: 1,
      nextAttemptAt: expect.any(Date) as Date,
    });
    const [row] = await outboxes.rows();
    expect(row).toMatchObject({ id: saved.id, state: "pending", attempts: 1, isLeased: false });
    expect(row!.lastError).toContain("down\u2400");
    fails = false;
    expect(await outbox.relay()).toMatchObject({ published: 1 });
    expect(ran).toEqual([["letter", 1], ["letter", 2]]); // prettier-ignore
    expect(await outboxes.rows()).toEqual([]);
  });

  it("keeps what need not be tried again as dead", async () => {
    const dead: unknown[] = [];
    outbox.on("dead", ({ call, attempt }) => void dead.push([call.function, attempt]));
    const unrecoverable = async () => {
      throw new UnrecoverableError("no such address");
    };
    const send = outbox.saveToOutbox(unrecoverable, { name: "send", persist: "on-failure" });
    const once = outbox.saveToOutbox(work, { name: "once", persist: "on-failure", retry: { maxAttempts: 1 } });
    fails = true;
    await outbox.transaction(async () => {
      await send();
      await once(1);
    });
    await outbox.idle();
    expect(dead.toSorted()).toEqual([["once", 1], ["send", 1]]); // prettier-ignore
    expect(await outboxes.rows()).toMatchObject([{ state: "dead", attempts: 1 }, { state: "dead", attempts: 1 }]); // prettier-ignore
    expect(await outbox.relay()).toMatchObject({ published: 0, failed: 0 });
  });

  it("stores what finds no free slot, and runs no more at once than there are slots", async () => {
    const narrow = outboxes.open({ concurrency: 3 });
    const opened = gate();
    let atOnce = 0;
    let most = 0;
    const send = narrow.saveToOutbox(
      async (n: number) => {
        most = Math.max(most, (atOnce += 1));
        await opened.promise;
        atOnce -= 1;
        ran.push(n);
      },
      { name: "send", persist: "on-failure" },
    );
    const numbers = Array.from({ length: 10 }, (_, n) => n);
    await narrow.transaction(() => Promise.all(numbers.map((n) => send(n))));
    await until("the surplus is stored", async () => (await outboxes.rows()).length === 7);
    expect(await outboxes.rows()).toMatchObject(numbers.slice(3).map(() => ({ state: "pending", attempts: 0 })));
    expect(atOnce).toBe(3);
    opened.resolve();
    await narrow.idle();
    await narrow.relay();
    expect({ ran: ran.toSorted(), most, left: await outboxes.rows() }).toEqual({ ran: numbers, most: 3, left: [] });
  });

  it("is for outbox.transaction and publish-on-commit: what else there is, is stored", async () => {
    const byOutbox = outboxes.open({ persist: "on-failure" });
    const send = byOutbox.saveToOutbox(work, { name: "send" });
    const order = byOutbox.saveToOutbox(work, { name: "order", strategy: "keep-order" });
    const always = byOutbox.saveToOutbox(work, { name: "always", persist: "always" });
    const trx = await outboxes.knex.transaction();
    expect(await insertsOf(() => send.in(trx)(1))).toBe(1);
    await trx.commit();
    expect(await insertsOf(() => byOutbox.transaction(() => order(2)))).toBe(1);
    await byOutbox.idle();
    expect(ran).toEqual([[1, 1]]);
    expect(await insertsOf(() => byOutbox.transaction(() => always(3)))).toBe(1);
    await byOutbox.idle();
    await byOutbox.relay();
    expect(ran.toSorted()).toEqual([[1, 1], [2, 1], [3, 1]]); // prettier-ignore
  });

  it("runs at once in no transaction, where that is allowed", async () => {
    const send = outbox.saveToOutbox(work, { name: "send", persist: "on-failure", requireTransaction: false });
    expect(await insertsOf(() => send(1))).toBe(0);
    await outbox.idle();
    fails = true;
    await send(2);
    await outbox.idle();
    expect(await outboxes.rows()).toMatchObject([{ attempts: 1 }]);
    fails = false;
    await outbox.relay();
    expect(ran).toEqual([[1, 1], [2, 1], [2, 2]]); // prettier-ignore
  });

  it("runs nothing of a savepoint that rolled back, nor of a transaction that did", async () => {
    const send = outbox.saveToOutbox(work, { name: "send", persist: "on-failure" });
    const fail = () => Promise.reject(new Error("stop"));
    await outbox.transaction(async () => {
      await send(1);
      await outbox.transaction(() => send(2).then(fail)).catch(() => undefined);
      await send(3);
    });
    await outbox.transaction(() => send(4).then(fail)).catch(() => undefined);
    await outbox.transaction((trx) => send(5).then(() => trx.rollback()));
    await outbox.idle();
    expect(ran).toEqual([[1, 1], [3, 1]]); // prettier-ignore
    expect(await outboxes.rows()).toEqual([]);
  });
});
