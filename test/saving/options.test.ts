import type { Knex } from "knex";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  currentCall,
  type Outbox,
  type OutboxEvents,
  type PerCall,
  type SavedFunction,
  TransactionRequiredError,
} from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

const HOUR_MS = 3_600_000;

describeEachEngine("a call is saved with", (engine) => {
  const outboxes = useOutboxes(engine);
  let outbox: Outbox;
  let ran: unknown[];
  const note = async (what: unknown) => void ran.push(what);
  beforeEach(() => {
    outbox = outboxes.open();
    ran = [];
  });
  const settle = async (by = outbox) => {
    await by.idle();
    await by.relay();
  };

  describe("requireTransaction", () => {
    it("true: only in a transaction", async () => {
      const send = outbox.saveToOutbox(note, { name: "send" });
      const refused = send(1);
      await expect(refused).rejects.toBeInstanceOf(TransactionRequiredError);
      await expect(refused).rejects.toThrow("send was called outside a transaction");
      await expect(send.with({ delay: 5 })(1)).rejects.toBeInstanceOf(TransactionRequiredError);
      const strict = outboxes.open({ requireTransaction: false });
      const sendStrictly = strict.saveToOutbox(note, { name: "strict", requireTransaction: true });
      await expect(sendStrictly(1)).rejects.toBeInstanceOf(TransactionRequiredError);
      expect(await outboxes.rows()).toEqual([]);
    });

    it("false: on its own, in one where there is one", async () => {
      const lax = outboxes.open({ requireTransaction: false });
      const ways = [
        outbox.saveToOutbox(note, { name: "send", requireTransaction: false }),
        lax.saveToOutbox(note, { name: "send" }),
      ];
      for (const [index, send] of ways.entries()) {
        const by = [outbox, lax][index]!;
        const saved = await send(`alone ${index}`);
        expect(saved).toMatchObject({ function: "send", stream: "default" });
        await by.idle();
        expect(ran).toEqual([`alone ${index}`]);
        const rolledBack = by.transaction(() => send("never").then(() => Promise.reject(new Error("stop"))));
        await expect(rolledBack).rejects.toThrow("stop");
        const trx = await outboxes.knex.transaction();
        await send.in(trx)("never");
        await trx.rollback();
        await settle(by);
        expect(ran.splice(0)).toEqual([`alone ${index}`]);
      }
      const ordered = outbox.saveToOutbox(note, { name: "ordered", requireTransaction: false, strategy: "keep-order" });
      await ordered("in order");
      await outbox.idle();
      expect(ran).toEqual([]);
      await outbox.relay();
      expect(ran).toEqual(["in order"]);
    });
  });

  describe("delay and runAt", () => {
    afterEach(() => vi.restoreAllMocks());
    const strategies = ["publish-on-commit", "keep-order"] as const;
    /** Both ways of saying it, one call each. */
    const saveBoth = (send: SavedFunction<[unknown], unknown>, perCall: PerCall) =>
      outbox.transaction(async (trx) => {
        await send.with(perCall)("with");
        await send.in(trx, perCall)("in");
      });
    const dueInMs = async () => {
      const listed = await outbox.calls.list();
      return listed.map(({ createdAt, dueAt }) => dueAt.getTime() - createdAt.getTime());
    };
    /** Moves what is due at some time to now, on the database's clock. */
    const bringForward = () =>
      outboxes.knex.raw(`update ${outboxes.tablePrefix}calls set due_at = ${outboxes.dialect.after("-1")}`);

    it.each(strategies)("holds a %s call back until it is due", async (strategy) => {
      const send = outbox.saveToOutbox(note, { name: "send", strategy });
      await saveBoth(send, { delay: "1h" });
      await outboxes.knex.transaction((trx) => send.in(trx, { delay: HOUR_MS / 2 })("by knex"));
      await settle();
      await settle();
      expect(ran).toEqual([]);
      expect((await dueInMs()).map((ms) => Math.round(ms / 60_000))).toEqual([60, 60, 30]);
      await bringForward();
      if (strategy === "keep-order") await outboxes.table("keys").update({ due_at: new Date(0) });
      await settle();
      expect(ran.toSorted()).toEqual(["by knex", "in", "with"]);
    });

    it("counts on the database's clock, whatever this process's says", async () => {
      const send = outbox.saveToOutbox(note, { name: "send" });
      const now = Date.now();
      for (const skewMs of [-5 * HOUR_MS, 5 * HOUR_MS]) {
        vi.spyOn(Date, "now").mockReturnValue(now + skewMs);
        await saveBoth(send, { delay: "1h" });
        expect((await dueInMs()).map((ms) => Math.round(ms / 1000))).toEqual([3600, 3600]);
        const [row] = await outbox.calls.list();
        // PGlite's clock is this process's.
        if (engine.name !== "pglite") expect(Math.abs(row!.createdAt.getTime() - now)).toBeLessThan(HOUR_MS / 2);
        await settle();
        await outboxes.table("calls").del();
        vi.restoreAllMocks();
      }
      expect(ran).toEqual([]);
    });

    it("runs at a moment that has passed at once, at another one exactly then", async () => {
      const send = outbox.saveToOutbox(note, { name: "send" });
      await saveBoth(send, { runAt: new Date(0) });
      await saveBoth(send, { delay: 0 });
      await outbox.idle();
      expect(ran).toEqual(["with", "in"]);
      await settle();
      expect(ran).toHaveLength(4);
      const moments = [new Date("2096-02-29T23:59:59.999Z"), new Date("9999-12-31T00:00:00Z")];
      for (const runAt of moments) await outbox.transaction(() => send.with({ runAt })("then"));
      await settle();
      expect((await outbox.calls.list()).map(({ dueAt }) => dueAt)).toEqual(moments);
      expect(ran).toHaveLength(4);
    });

    it("is stored even where persist says otherwise", async () => {
      const send = outbox.saveToOutbox(note, { name: "send", persist: "on-failure" });
      await saveBoth(send, { delay: "1h" });
      await outbox.idle();
      expect({ ran, rows: await outboxes.rows() }).toMatchObject({ ran: [], rows: [{}, {}] });
    });
  });

  it("headers, which every run and every event has", async () => {
    const headers = { traceparent: "00-ab", tenant: "ç\0\ud800 'quoted'", "": "empty", __proto__x: "odd" };
    const seen: unknown[] = [];
    const look = async (fails: boolean) => {
      seen.push(currentCall()?.headers);
      if (fails && currentCall()?.attempt === 1) throw new Error("down");
    };
    outbox = outboxes.open({ retry: { initialDelay: 0 } });
    for (const event of ["saved", "failed", "published"] as const) {
      outbox.on(event, ({ call }) => void seen.push([event, call.headers]));
    }
    const send = outbox.saveToOutbox(look, { name: "send" });
    const order = outbox.saveToOutbox(look, { name: "order", strategy: "keep-order" });
    const unstored = outbox.saveToOutbox(look, { name: "unstored", persist: "on-failure" });
    const saves: ((trx: Knex.Transaction) => Promise<unknown>)[] = [
      (trx) => send.in(trx, { headers })(true),
      () => order.with({ headers })(true),
      () => unstored.with({ headers })(true),
    ];
    for (const save of saves) {
      const given = { ...headers };
      await outbox.transaction(async (trx) => {
        const saved = save(trx);
        given.tenant = "another";
        await saved;
      });
      await settle();
      await settle();
      const attempts = [headers, ["failed", headers], headers, ["published", headers]];
      expect(seen.splice(0)).toEqual(save === saves[2] ? attempts : [["saved", headers], ...attempts]);
    }
    await outbox.transaction(() => send(false));
    await settle();
    expect(seen).toEqual([["saved", {}], {}, ["published", {}]]);
  });

  it("an ordering key of up to 255 bytes, compared byte by byte", async () => {
    const order = outbox.saveToOutbox(note, {
      name: "order",
      strategy: "keep-order",
      orderingKey: (key: unknown) => String(key),
    });
    const keys = ["Cust-a", "cust-A", "cust-a", "cust-a ", "ç", "c\u0327", "k".repeat(255), "ç".repeat(127), "\u200b"];
    await outbox.transaction(async (trx) => {
      for (const key of keys) await order(key);
      await order.in(trx, { orderingKey: "its own" })("any");
    });
    expect((await outboxes.rows()).map(({ key }) => key)).toEqual([...keys, "its own"]);
    expect((await outbox.calls.list()).map(({ orderingKey }) => orderingKey)).toEqual([...keys, "its own"]);
    expect(await outbox.relay()).toMatchObject({ published: 10 });
  });

  it("an event for each, which may still be rolled back, and a listener that throws harms none", async () => {
    const events: OutboxEvents["saved"][] = [];
    outbox.on("saved", () => {
      throw new Error("listener");
    });
    outbox.on("saved", (event) => void events.push(event));
    outbox.on("saved", () => Promise.reject(new Error("async listener")));
    const order = outbox.saveToOutbox(async (_n: number, _when: Date) => {}, {
      name: "order",
      stream: "orders",
      strategy: "keep-order",
      orderingKey: (n) => `key ${n}`,
    });
    const send = outbox.saveToOutbox(async () => {}, { name: "send", requireTransaction: false });
    const saved: { id: string }[] = [];
    const rolledBack = outbox.transaction(async (trx) => {
      saved.push(await order(1, new Date(5)), await order.in(trx, { headers: { a: "b" } })(2, new Date(6)));
      expect(events).toEqual([]);
      await outbox
        .transaction(() => order(3, new Date(7)).then(() => Promise.reject(new Error("no"))))
        .catch(() => undefined);
      await trx.commit();
      expect(events).toHaveLength(2);
    });
    await rolledBack;
    const trx = await outboxes.knex.transaction();
    saved.push(await send.in(trx)());
    expect(events).toHaveLength(3);
    await trx.rollback();
    saved.push(await send());
    const ordered = { function: "order", stream: "orders", strategy: "keep-order", headers: {} };
    const sent = { function: "send", stream: "default", strategy: "publish-on-commit", args: [], headers: {} };
    expect(events.map(({ call }) => call)).toEqual([
      { id: saved[0]!.id, ...ordered, orderingKey: "key 1", args: [1, new Date(5)] },
      { id: saved[1]!.id, ...ordered, orderingKey: "key 2", args: [2, new Date(6)], headers: { a: "b" } },
      { id: saved[2]!.id, ...sent },
      { id: saved[3]!.id, ...sent },
    ]);
  });

  it("what is taken off the outbox, which needs no this", async () => {
    const { saveToOutbox, transaction, idle } = outbox;
    const service = {
      name: "service",
      async send(n: number) {
        ran.push([this?.name, n]);
      },
    };
    const send = saveToOutbox(service.send.bind(service));
    const { with: sendWith, in: sendIn, original } = send;
    await transaction(async (trx) => {
      await send(1);
      await sendWith({})(2);
      await sendIn(trx)(3);
      await Reflect.apply(send, { name: "another" }, [4]);
    });
    await original(5);
    await idle();
    expect(ran.toSorted()).toEqual([1, 2, 3, 4, 5].map((n) => ["service", n]));
    expect([send.functionName, send.name]).toEqual(["bound send", "bound send"]);
  });
});
