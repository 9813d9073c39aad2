import { AsyncResource } from "node:async_hooks";
import { expect, it } from "vitest";
import { superjsonCodec } from "../../src/codec.js";
import { Events } from "../../src/events.js";
import { Registry } from "../../src/registry.js";
import { Pass } from "../../src/run/pass.js";
import { Slots } from "../../src/run/slots.js";
import { insertCalls } from "../../src/store/insert-calls.js";
import { connectionOf } from "../../src/store/database.js";
import { openStore, type Store } from "../../src/store/store.js";
import { resolveTables } from "../../src/store/tables.js";
import { KeepOrder } from "../../src/strategies/keep-order.js";
import { definitionOf, runContext, slotsWithSuspects } from "../support/definitions.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { deferred, gate } from "../support/waiting.js";
import { inLine } from "../store/support.js";

const LEASE_MS = 900;

describeEachServer("a keep-order call is not begun under a stream's lease that may be another's", (engine) => {
  const outboxes = useOutboxes(engine);

  /** Serves the calls 1 and 2 of a key, with a store that the test has changed. */
  async function serve(change: (store: Store) => Partial<Store>, fn: (n: number) => unknown, isTakenOver = false) {
    const { knex, dialect, tablePrefix } = outboxes;
    const tables = resolveTables({ tablePrefix }, dialect);
    const store = openStore({ knex, tables, ownConnections: 2, writersLock: true, leaseMs: LEASE_MS });
    const calls = [1, 2].map((n) => inLine("a", { payload: superjsonCodec.encode([n]) }));
    await knex.transaction((trx) => insertCalls(connectionOf(trx, dialect), dialect, tables, calls, true));
    if (isTakenOver) {
      await store.acquireStream("line");
      await outboxes.expireLeases();
    }
    const logger = { debug() {}, info() {}, warn() {}, error() {} };
    const registry = new Registry(superjsonCodec);
    registry.register(definitionOf({ name: "send", stream: "line", strategy: "keep-order", fn: fn }));
    const events = new Events(logger);
    const lost = deferred();
    events.on("leaseLost", () => lost.resolve());
    const keepOrder = new KeepOrder({
      store: { ...store, ...change(store) },
      registry,
      ...slotsWithSuspects(new Slots(4)),
      events,
      logger,
      context: runContext({ registry, context: new AsyncResource("test") }),
      leaseMs: LEASE_MS,
      concurrency: 4,
      pollIntervalMs: 60_000,
    });
    const served = keepOrder.relay("line", new Pass({})).finally(() => store.close());
    return { served, lost: lost.promise };
  }

  it("by an answer to a renewal that lay on the connection while the process was stopped", async () => {
    const [renewed, mayAnswer] = [deferred(), gate()];
    const began: number[] = [];
    let renewals = 0;
    const { served, lost } = await serve(
      (store) => ({
        async renewStream(lease) {
          const isHeld = await store.renewStream(lease);
          if (++renewals > 1) return isHeld;
          renewed.resolve();
          await mayAnswer.promise;
          return isHeld;
        },
      }),
      async (n) => {
        began.push(n);
        if (n > 1) return;
        await renewed.promise;
        await outboxes.stealLeases();
        const endsAt = performance.now() + 1.2 * LEASE_MS;
        while (performance.now() < endsAt);
        // Read once the run has ended.
        setImmediate(() => mayAnswer.resolve());
      },
    );
    await served;
    await lost;
    expect(began).toEqual([1]);
  });

  it("where the lease was lost while the beginning of a suspect was written down", async () => {
    const began: number[] = [];
    const told = deferred();
    const { served, lost } = await serve(
      (store) => ({
        renewStream: () => Promise.reject(new Error("the network is away")),
        async settleStream(lease, settlements) {
          const isHeld = await store.settleStream(lease, settlements);
          if (settlements.some(({ kind }) => kind === "begin-suspect")) await told.promise;
          return isHeld;
        },
      }),
      (n) => void began.push(n),
      true,
    );
    await lost;
    told.resolve();
    await served;
    expect(began).toEqual([]);
  });
});
