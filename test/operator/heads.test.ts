import { expect, it } from "vitest";
import { type CallState, UnrecoverableError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

describeEachEngine("the first call of a key", (engine) => {
  const outboxes = useOutboxes(engine);
  const key = { stream: "orders", orderingKey: "a" };

  /** Key `a` has a dead call, and behind it one that is blocked, and one that waits. */
  async function openBlocked() {
    const outbox = outboxes.open({ retry: { initialDelay: "1h", jitter: 0 } });
    const publish = outbox.saveToOutbox(
      async (n: number) => {
        throw n === 1 ? new UnrecoverableError("no") : new Error("down");
      },
      {
        name: "publish",
        strategy: "keep-order",
        stream: "orders",
        orderingKey: () => "a",
        onExhausted: "skip",
      },
    );
    const saved = await outbox.transaction(async () => [await publish(1), await publish(2), await publish(3)] as const);
    await outbox.relay();
    expect((await outbox.calls.list()).map(({ state }) => state)).toEqual(["dead", "blocked", "waiting"]);
    return { outbox, ids: saved.map(({ id }) => id) as [string, string, string] };
  }

  it("is told as it would be skipped, also where one came back in front of a blocked one", async () => {
    const { outbox, ids } = await openBlocked();
    const told = () => outbox.keys.skipHead(key, { dryRun: true });
    expect(await told()).toEqual({ id: ids[1], skipped: false });
    await outbox.calls.retry(ids[0]);
    expect(await told()).toEqual({ id: ids[0], skipped: false });
    const rows = await outboxes.rows();
    expect(rows.map(({ state }) => state)).toEqual(["held", "held", "held"]);
    expect(await outbox.keys.skipHead(key)).toEqual({ id: ids[0], skipped: true });
    expect(await told()).toEqual({ id: ids[1], skipped: false });
    expect(await outbox.keys.skipHead({ stream: "orders", orderingKey: "b" }, { dryRun: true })).toBeUndefined();
  });

  it("is not skipped where another one was meant", async () => {
    const { outbox, ids } = await openBlocked();
    expect(await outbox.keys.skipHead(key, { id: ids[2] })).toEqual({ id: ids[1], skipped: false });
    expect((await outbox.calls.list()).map(({ state }) => state)).toEqual(["dead", "blocked", "waiting"]);
    expect(await outbox.keys.skipHead(key, { id: ids[1].toUpperCase(), reason: "cancelled" })).toEqual({
      id: ids[1],
      skipped: true,
    });
    expect((await outbox.calls.list()).map(({ state }) => state)).toEqual(["dead", "dead", "waiting"]);
  });

  it("is one of keep-order, whatever stands in front of it", async () => {
    const outbox = outboxes.open();
    const note = outbox.saveToOutbox(async () => {}, { name: "note", stream: "orders" });
    const publish = outbox.saveToOutbox(async () => {}, {
      name: "publish",
      stream: "orders",
      strategy: "keep-order",
    });
    const { id } = await outbox.transaction(async () => {
      await note.with({ delay: "1h" })();
      return publish();
    });
    expect(await outbox.keys.skipHead({ stream: "orders" }, { dryRun: true })).toEqual({ id, skipped: false });
    expect(await outbox.keys.skipHead({ stream: "orders" }, { id })).toEqual({ id, skipped: true });
  });
});

describeEachEngine("parking a key", (engine) => {
  const outboxes = useOutboxes(engine);

  it("tells whether a call of it still runs", async () => {
    const outbox = outboxes.open({ pollInterval: 30 });
    const ended = gate();
    const started: string[] = [];
    const publish = outbox.saveToOutbox(
      async (key: string) => {
        started.push(key);
        await ended.promise;
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
    );
    await outbox.transaction(async () => {
      await publish("a");
      await publish("a");
    });
    outbox.startRelayer();
    await until("it runs", () => started.length === 1);
    const operator = outboxes.openRival();
    expect(await operator.keys.park({ stream: "orders", orderingKey: "b" })).toEqual({ running: false });
    expect(await operator.keys.park({ stream: "orders", orderingKey: "a" })).toEqual({ running: true });
    ended.resolve();
    await until("it is settled", async () => (await outboxes.rows()).length === 1);
    expect(await operator.keys.park({ stream: "orders", orderingKey: "a" })).toEqual({ running: false });
    expect(started).toEqual(["a"]);
  });
});

describeEachEngine("calls of a parked key", (engine) => {
  const outboxes = useOutboxes(engine);

  it("are shown as parked, also those that no relay has met, and only those of keep-order", async () => {
    const outbox = outboxes.open();
    const send = outbox.saveToOutbox(async () => {}, { name: "send", stream: "orders" });
    const publish = outbox.saveToOutbox(async (_key: string | undefined) => {}, {
      name: "publish",
      stream: "orders",
      strategy: "keep-order",
    });
    const save = () =>
      outboxes.knex.transaction(async (trx) => {
        await send.with({ trx, delay: "1h" })();
        await publish.in(trx)(undefined);
        await publish.with({ trx, delay: "1h" })(undefined);
        await publish.with({ trx, orderingKey: "b" })("b");
      });
    await save();
    const keyless = { stream: "orders" };
    await outbox.keys.park(keyless);
    await save();
    const states = async () => (await outbox.calls.list()).map(({ state }) => state);
    const asSaved = ["pending", "parked", "parked", "due"];
    expect(await states()).toEqual([...asSaved, ...asSaved]);
    const counted = { pending: 8, due: 2, parked: 4, parkedKeys: 1 };
    expect(await outbox.streams.list()).toMatchObject([counted]);
    const found = async (state: CallState) => (await outbox.calls.list({ state })).map((call) => call.state);
    expect(await found("parked")).toEqual(Array.from({ length: 4 }, () => "parked"));
    expect(await found("due")).toEqual(["due", "due"]);
    expect(await found("pending")).toEqual(["pending", "pending"]);

    // A relay that meets them changes nothing of that.
    expect(await outbox.relay()).toMatchObject({ published: 2 });
    expect(await outbox.streams.list()).toMatchObject([{ ...counted, pending: 6, due: 0 }]);
    expect((await outboxes.rows()).filter(({ state }) => state === "held")).toHaveLength(4);
    await outbox.streams.pause("orders");
    await save();
    expect(await outbox.streams.list()).toMatchObject([{ pending: 10, due: 1, parked: 6 }]);
    expect(await outbox.calls.discard({ state: "parked" }, { dryRun: true })).toEqual({ discarded: 6, running: 0 });
    await outbox.keys.resume(keyless);
    expect((await states()).slice(-4)).toEqual(["pending", "due", "pending", "due"]);
    expect(await outbox.check({ maxAge: "1h" })).toEqual([]);
  });

  it("are late for nobody", async () => {
    const outbox = outboxes.open();
    const publish = outbox.saveToOutbox(async () => {}, { name: "publish", stream: "orders", strategy: "keep-order" });
    await outbox.transaction(() => publish());
    await outboxes.table("calls").update({ due_at: outboxes.knex.raw(outboxes.dialect.after("-3600000")) });
    expect(await outbox.check({ maxAge: "1m" })).toMatchObject([{ kind: "too-old" }]);
    await outbox.keys.park({ stream: "orders" });
    expect(await outbox.check({ maxAge: "1m" })).toEqual([]);
    expect((await outbox.streams.list())[0]).not.toHaveProperty("oldestDueAgeMs");
  });
});

describeEachEngine("a page of calls", (engine) => {
  const outboxes = useOutboxes(engine);

  it("begins behind a cursor, also once that call has run", async () => {
    const outbox = outboxes.open();
    const publish = outbox.saveToOutbox(async (_: number) => {}, {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
    });
    const late = outbox.saveToOutbox(async () => {}, { name: "late", stream: "late" });
    await outbox.transaction(async () => {
      for (let n = 1; n <= 3; n++) await publish(n);
      for (let n = 1; n <= 3; n++) await late.with({ delay: "1h" })();
    });
    const first = await outbox.calls.list({ limit: 2 });
    expect(await outbox.calls.list({ limit: 2, after: first[1]!.cursor })).toMatchObject([
      { function: "publish" },
      { function: "late" },
    ]);
    expect(await outbox.relay()).toMatchObject({ published: 3 });
    await expect(outbox.calls.list({ after: first[1]!.id })).rejects.toThrow("give its cursor");
    const rest = await outbox.calls.list({ after: first[1]!.cursor });
    expect(rest.map((call) => call.function)).toEqual(["late", "late", "late"]);
    expect(await outbox.calls.list({ after: rest[0]!.cursor })).toEqual(rest.slice(1));
    expect(await outbox.calls.get(rest[0]!.id)).toMatchObject({ cursor: rest[0]!.cursor });
  });
});
