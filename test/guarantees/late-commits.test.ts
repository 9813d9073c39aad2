import type { Knex } from "knex";
import { afterEach, expect, it } from "vitest";
import type { OutboxOptions } from "../../src/index.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

describeEachServer("a keep-order call that was saved first and commits last", (engine) => {
  const outboxes = useOutboxes(engine);
  const early: Knex.Transaction[] = [];
  afterEach(async () => {
    for (const trx of early.splice(0)) if (!trx.isCompleted()) await trx.rollback();
  });

  /** Calls of these names wait, or fail, as long as they are told to. */
  function open(options: Partial<OutboxOptions> = {}) {
    const outbox = outboxes.open({ writersLock: false, retry: { initialDelay: "1h" }, ...options });
    const waits = new Map<string, Promise<void>>();
    const fails = new Set<string>();
    const begun: string[] = [];
    const publish = outbox.saveToOutbox(
      async (key: string, n: number) => {
        const call = `${key}${n}`;
        begun.push(call);
        await waits.get(call);
        if (fails.has(call)) throw new Error("down");
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
    );
    const commit = (...calls: [key: string, n: number][]) =>
      outbox.transaction(async () => {
        for (const call of calls) await publish(...call);
      });
    /** Saves it now, for a commit later on. */
    const saveEarly = async (key: string, n: number) => {
      const trx = await outboxes.knex.transaction();
      early.push(trx);
      await publish.in(trx)(key, n);
      return trx;
    };
    const keysInOrder = async () => (await outboxes.rows()).map(({ key }) => key);
    const dueNow = async () => {
      const due_at = outboxes.knex.raw(outboxes.dialect.now);
      await outboxes.table("keys").update({ due_at });
      // One by one: a look at all of them would wait for those that are not committed yet.
      for (const { id } of await outboxes.rows()) await outboxes.table("calls").where({ id }).update({ due_at });
    };
    return { outbox, waits, fails, begun, commit, saveEarly, keysInOrder, dueNow };
  }

  it("is run by who has long passed its place in the stream, under the same lease", async () => {
    const { outbox, waits, begun, commit, saveEarly, keysInOrder } = open();
    const [slowEnds, lateEnds] = [gate(), gate()];
    waits.set("slow1", slowEnds.promise).set("late1", lateEnds.promise);
    const late = await saveEarly("late", 1);
    outbox.startRelayer({ interval: 10 });
    // While it runs, nobody gives the stream back.
    await commit(["slow", 1]);
    await until("the stream is served", () => begun.includes("slow1"));
    for (let n = 1; n <= 3; n++) {
      await commit(["other", n]);
      await until("a call behind it has run", () => begun.includes(`other${n}`));
    }
    await late.commit();
    await until("the late one runs", () => begun.includes("late1"));
    expect((await keysInOrder()).filter((key) => key !== "other")).toEqual(["late", "slow"]);
    expect(begun).toEqual(["slow1", "other1", "other2", "other3", "late1"]);
  });

  it("is overtaken by its own key with writersLock: false, and still run", async () => {
    const { outbox, begun, commit, saveEarly } = open();
    const late = await saveEarly("a", 1);
    await commit(["a", 2]);
    await outbox.relay();
    await late.commit();
    await outbox.relay();
    expect(begun).toEqual(["a2", "a1"]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("is run before its key's blocked head that it comes before", async () => {
    const { outbox, fails, begun, commit, saveEarly, dueNow } = open();
    fails.add("a2");
    const late = await saveEarly("a", 1);
    await commit(["a", 2], ["a", 3]);
    expect(await outbox.relay()).toMatchObject({ failed: 1 });
    await late.commit();
    expect(await outbox.relay()).toMatchObject({ published: 0 });
    fails.clear();
    await dueNow();
    expect(await outbox.relay()).toMatchObject({ published: 3 });
    expect(begun).toEqual(["a2", "a1", "a2", "a3"]);
    expect(await outboxes.table("keys")).toEqual([]);
  });

  it("is run in the same pass where its key stood aside and was running", async () => {
    const { outbox, waits, fails, begun, commit, saveEarly, dueNow } = open({ pollInterval: 20 });
    const headEnds = gate();
    fails.add("a2");
    const late = await saveEarly("a", 1);
    await commit(["a", 2], ["a", 3]);
    await outbox.relay();
    fails.clear();
    await dueNow();
    waits.set("a2", headEnds.promise);
    outbox.startRelayer({ interval: 10 });
    await until("the head runs again", () => begun.length === 2);
    await late.commit();
    await until("it is behind its key's head by then", async () =>
      (await outboxes.rows()).every(({ state }) => state === "held"),
    );
    headEnds.resolve();
    await until("all have run", async () => (await outboxes.rows()).length === 0);
    expect(begun).toEqual(["a2", "a2", "a3", "a1"]);
    await until("the key stands in line again", async () => (await outboxes.table("keys")).length === 0);
  });
});

describeEachServer("while another session locks the first calls of a stream", (engine) => {
  const outboxes = useOutboxes(engine);

  it("no key's second call is run before its first", async () => {
    const outbox = outboxes.open();
    const begun: string[] = [];
    const publish = outbox.saveToOutbox((key: string, n: number) => void begun.push(`${key}${n}`), {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    await outbox.transaction(async () => {
      for (let n = 1; n <= 3; n++) for (const key of ["a", "b", "c"]) await publish(key, n);
    });
    const reader = await outboxes.knex.transaction();
    const locked = await reader(`${outboxes.tablePrefix}calls`)
      .where({ state: "pending", strategy: "keep-order", stream: "orders" })
      .orderBy("seq")
      .limit(4)
      .forUpdate();
    expect(locked).toHaveLength(4);

    const relaying = outbox.relay();
    await until("they have run, with their lines still locked", () => begun.length === 9);
    expect((await outboxes.rows()).length).toBeGreaterThanOrEqual(4);
    await reader.rollback();
    expect(await relaying).toMatchObject({ published: 9, failed: 0 });
    for (const key of ["a", "b", "c"]) {
      expect(begun.filter((call) => call.startsWith(key))).toEqual([1, 2, 3].map((n) => `${key}${n}`));
    }
  });
});
