import { expect, it } from "vitest";
import { superjsonCodec } from "../../src/codec.js";
import { Events } from "../../src/events.js";
import { Registry } from "../../src/registry.js";
import { Pass } from "../../src/run/pass.js";
import { resolveRetry } from "../../src/run/retry.js";
import { Slots } from "../../src/run/slots.js";
import type { NewCall } from "../../src/store/insert-calls.js";
import { openStore, type Store } from "../../src/store/store.js";
import { resolveTables } from "../../src/store/tables.js";
import { KeepOrder } from "../../src/strategies/keep-order.js";
import { inLine } from "../store/support.js";
import { definitionOf, runContext, slotsWithSuspects } from "../support/definitions.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { deferred } from "../support/waiting.js";

/** More than one fetch brings: what follows is read ahead. */
const OTHERS = 700;

describeEachServer("what is read ahead of a line", (engine) => {
  const outboxes = useOutboxes(engine);

  /** A stream that one serves; the store's answers are changed by the test. */
  function open(change: (store: Store) => Partial<Store>, run: (name: string) => unknown) {
    const { knex, dialect, tablePrefix } = outboxes;
    const tables = resolveTables({ tablePrefix }, dialect);
    const store = openStore({ knex, tables, ownConnections: 3, writersLock: true, leaseMs: 60_000 });
    const ran: string[] = [];
    const registry = new Registry(superjsonCodec);
    const fn = (name: string) => {
      ran.push(name);
      return run(name);
    };
    const retry = resolveRetry("retry", { initialDelay: "1h" });
    registry.register(definitionOf({ name: "send", stream: "line", strategy: "keep-order", fn, retry }));
    const logger = { debug() {}, info() {}, warn() {}, error() {} };
    const keepOrder = new KeepOrder({
      ...{ store: { ...store, ...change(store) }, registry, events: new Events(logger), logger },
      ...{ ...slotsWithSuspects(new Slots(4)), context: runContext({ registry }) },
      ...{ leaseMs: 60_000, concurrency: 4, pollIntervalMs: 60_000 },
    });
    const serve = () => keepOrder.relay("line", new Pass({})).finally(() => store.close());
    return { store, ran, serve };
  }

  const call = (key: string, name: string): NewCall => inLine(key, { payload: superjsonCodec.encode([name]) });
  // Of one key: with many, some would wait for the writer of another that has the same lock.
  const others = () => Array.from({ length: OTHERS }, (_, n) => call("other", `other ${n}`));

  it("does not run a call before one that committed late, with a smaller seq than what was read before", async () => {
    const { knex } = outboxes;
    const trx = await knex.transaction();
    let reads = 0;
    const { store, ran, serve } = open(
      (real) => ({
        async readAhead(...asked) {
          if (++reads === 1) {
            await trx.commit();
            await real.insertAlone([call("late", "late 2")]);
          }
          return real.readAhead(...asked);
        },
      }),
      () => undefined,
    );
    await store.insert(trx, [call("late", "late 1")]);
    await store.insertAlone(others());
    await serve();
    expect(reads).toBeGreaterThan(0);
    expect(ran).toHaveLength(OTHERS + 2);
    expect(ran.filter((name) => name.startsWith("late"))).toEqual(["late 1", "late 2"]);
  });

  it("does not run a call whose key's head has failed meanwhile", async () => {
    const [reading, held] = [deferred(), deferred()];
    let reads = 0;
    const { store, ran, serve } = open(
      (real) => ({
        async readAhead(...asked) {
          const ahead = await real.readAhead(...asked);
          if (++reads > 1) return ahead;
          reading.resolve();
          await held.promise;
          // By then the lane has heard of it, and ended.
          await new Promise((resolve) => setImmediate(resolve));
          return ahead;
        },
        async settleStream(lease, settlements) {
          const isHeld = await real.settleStream(lease, settlements);
          if (settlements.some(({ kind }) => kind === "hold")) held.resolve();
          return isHeld;
        },
      }),
      async (name) => {
        if (name !== "failing 1") return;
        await reading.promise;
        throw new Error("down");
      },
    );
    await store.insertAlone([call("failing", "failing 1"), ...others(), call("failing", "failing 2")]);
    await serve();
    expect(reads).toBeGreaterThan(0);
    expect(ran).toHaveLength(OTHERS + 1);
    expect(ran).not.toContain("failing 2");
  });
});
