import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Outbox } from "../../src/index.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";
import { watchedClient, type WatchedStatement } from "../support/watched-client.js";

const CALLS = 100_000;
const BATCH = 1000;
/** Far beyond what a statement over a batch takes, also on a busy machine. */
const LONG_MS = 10_000;

describeEachServer("a person's hands on many calls", (engine) => {
  const outboxes = useOutboxes(engine);

  /** An operator whose statements are watched. */
  function openOperator() {
    const statements: WatchedStatement[] = [];
    const client = watchedClient(outboxes.knex, (statement) => void statements.push(statement));
    const operator = outboxes.open({ knex: outboxes.database.newKnex!({ client }) });
    return { operator, statements };
  }

  /** Stores calls beside the bulk, for the length of `work`: in its stream, and in one that a relayer serves. */
  async function besideSaves<T>(outbox: Outbox, work: () => Promise<T>) {
    let ran = 0;
    const run = async () => {
      ran += 1;
    };
    const publish = outbox.saveToOutbox(run, { name: "publish", strategy: "keep-order", stream: "others" });
    const later = outbox.saveToOutbox(async () => {}, { name: "later", stream: "bulk" });
    const relayer = outbox.startRelayer({ stream: "others" });
    let isOver = false;
    const saves: Saves = { count: 0, longestMs: 0 };
    const saving = (async () => {
      while (!isOver || saves.count === 0) {
        const from = performance.now();
        await outbox.transaction(async () => {
          await publish();
          await later.with({ delay: "1h" })();
        });
        saves.longestMs = Math.max(saves.longestMs, performance.now() - from);
        saves.count += 1;
        await pause(1);
      }
    })();
    const result = await work().finally(() => (isOver = true));
    await saving;
    await until("the others ran", () => ran === saves.count);
    await relayer.stop();
    return { result, saves };
  }

  /** Copies the only stored call of this function. */
  async function multiply(functionName: string, times: number): Promise<void> {
    const columns =
      "function_name, stream, strategy, ordering_key, state, due_at, attempts, codec, version, headers, payload, last_error, created_at, settled_at, first_due_at";
    const calls = outboxes.dialect.quote(`${outboxes.tablePrefix}calls`);
    const digits = `(select 0 as n ${[1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `union all select ${n}`).join(" ")})`;
    const uuid = engine.dialect === "pg" ? "gen_random_uuid()" : "uuid()";
    await outboxes.knex.raw(
      `insert into ${calls} (id, ${columns}) select ${uuid}, ${columns} from ${calls} c
       cross join ${digits} d1 cross join ${digits} d2 cross join ${digits} d3 cross join ${digits} d4 cross join ${digits} d5
       where c.function_name = ? limit ?`,
      [functionName, times - 1],
    );
    await outboxes.knex.raw(`analyze ${engine.dialect === "pg" ? "" : "table"} ${calls}`);
  }

  describe(`${CALLS} calls at once`, () => {
    it("come back from the dead while others are saved and run", { timeout: 180_000 }, async () => {
      const outbox = outboxes.open({ requireTransaction: false });
      const note = outbox.saveToOutbox(async () => {}, { name: "note", stream: "bulk" });
      await note.with({ delay: "1h" })();
      await outboxes.table("calls").update({ state: "dead", attempts: 3, last_error: "Error: down" });
      await multiply("note", CALLS);
      const { operator, statements } = openOperator();
      const dead = { stream: "bulk", state: "dead", error: "down" } as const;
      expect(await operator.calls.retry(dead, { dryRun: true })).toEqual({ retried: CALLS });

      const told: number[] = [];
      const { result, saves } = await besideSaves(outbox, () =>
        operator.calls.retry(dead, { onProgress: (done) => void told.push(done) }),
      );
      expect(result).toEqual({ retried: CALLS });
      expect(told).toEqual(Array.from({ length: CALLS / BATCH }, (_, n) => (n + 1) * BATCH));
      expectShort(statements, CALLS, saves.longestMs);
      expect(await operator.calls.retry(dead, { dryRun: true })).toEqual({ retried: 0 });
    });

    it("are discarded, half of them under a relayer that serves them", { timeout: 180_000 }, async () => {
      const outbox = outboxes.open({ requireTransaction: false });
      const started: string[] = [];
      const first = gate();
      const order = async () => {
        started.push("order");
        await first.promise;
      };
      const orders = { stream: "orders", strategy: "keep-order" } as const;
      const saveNote = outbox.saveToOutbox(async () => {}, { name: "note", stream: "bulk" });
      const saveOrder = outbox.saveToOutbox(order, { name: "order", ...orders });
      const saveKept = outbox.saveToOutbox(async () => {}, { name: "kept", ...orders });
      await saveNote.with({ delay: "1h" })();
      await multiply("note", CALLS / 2);
      await saveOrder();
      await multiply("order", CALLS / 2);
      await saveKept();
      const server = outboxes.openRival({ pollInterval: 50 });
      server.saveToOutbox(order, { name: "order", ...orders });
      server.saveToOutbox(async () => void started.push("kept"), { name: "kept", ...orders });
      server.startRelayer({ stream: "orders" });
      await until("the first one runs", () => started.length === 1);
      const { operator, statements } = openOperator();

      const told = { order: [] as number[], note: [] as number[] };
      const discard = (name: "order" | "note") =>
        operator.calls.discard({ function: name, olderThan: 0 }, { onProgress: (done) => void told[name].push(done) });
      // The first of them lie behind all of the others.
      const { result, saves } = await besideSaves(outbox, async () => [await discard("order"), await discard("note")]);
      expect(result).toEqual([
        { discarded: CALLS / 2 - 1, running: 1 },
        { discarded: CALLS / 2, running: 0 },
      ]);
      expect(told.note).toEqual(Array.from(told.note, (_, n) => (n + 1) * BATCH));
      expect(told.order).toEqual(told.order.toSorted((one, other) => one - other));
      expect(new Set(told.order).size).toBeGreaterThan(3);
      expect(told.order.at(-1)).toBe(CALLS / 2 - 1);
      expectShort(statements, CALLS, saves.longestMs);
      first.resolve();
      await until("the one behind them ran", () => started.length > 1);
      expect(started).toEqual(["order", "kept"]);
    });
  });

  describe("the heads of ten thousand blocked keys", () => {
    it("come back, or are discarded", { timeout: 180_000 }, async () => {
      const keys = 10_000;
      const outbox = outboxes.open({ requireTransaction: false });
      const order = outbox.saveToOutbox(async (_: string) => {}, {
        name: "order",
        stream: "orders",
        strategy: "keep-order",
        orderingKey: (key) => key,
      });
      await outbox.transaction(async () => {
        for (let n = 0; n < keys; n++) await order(`key ${n}`);
      });
      const [calls, blocked] = ["calls", "keys"].map((name) =>
        outboxes.dialect.quote(`${outboxes.tablePrefix}${name}`),
      );
      await outboxes.table("calls").update({ state: "held", attempts: 3, last_error: "Error: down" });
      await outboxes.knex.raw(
        `insert into ${blocked} (stream, ordering_key, state, due_at, since)
       select stream, ordering_key, 'blocked', ${outboxes.dialect.after("3600000")}, created_at from ${calls}`,
      );
      const { operator, statements } = openOperator();
      const held = async () => {
        const aside = `select count(*) as n from ${blocked} where due_at > ${outboxes.dialect.after("60000")}`;
        const { rows } = outboxes.dialect.result<{ n: number | string }>(await outboxes.knex.raw(aside));
        return Number(rows[0]?.n);
      };
      expect(await held()).toBe(keys);

      expect(await operator.calls.retry({ state: "blocked", olderThan: 0 })).toEqual({ retried: keys });
      expect(await held()).toBe(0);
      await outboxes.knex.raw(`update ${blocked} set due_at = ${outboxes.dialect.after("3600000")}`);
      expect(await operator.calls.discard({ stream: "orders" })).toEqual({ discarded: keys, running: 0 });
      expect(await held()).toBe(0);
      expectShort(statements, 2 * keys);
    });
  });
});

/** No statement holds more than a batch of rows locked. */
function expectShort(statements: readonly WatchedStatement[], calls: number, longestSaveMs = 0): void {
  const [largest] = statements.toSorted((one, other) => other.written - one.written);
  expect(largest!.written, largest!.sql).toBe(BATCH);
  expect(statements.reduce((sum, { written }) => sum + written, 0)).toBeGreaterThanOrEqual(calls);
  const [longest] = statements.toSorted((one, other) => other.ms - one.ms);
  expect(longest!.ms, longest!.sql).toBeLessThan(LONG_MS);
  expect(longestSaveMs).toBeLessThan(LONG_MS);
}

interface Saves {
  count: number;
  longestMs: number;
}
