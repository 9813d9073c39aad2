import { expect, it } from "vitest";
import { superjsonCodec } from "../../src/codec.js";
import { LeaseLostError } from "../../src/errors.js";
import { Events } from "../../src/events.js";
import { Registry } from "../../src/registry.js";
import { Pass } from "../../src/run/pass.js";
import { run } from "../../src/run/run.js";
import { Slots } from "../../src/run/slots.js";
import type { ClaimedCall } from "../../src/store/claim-calls.js";
import type { CallLease } from "../../src/store/dialect.js";
import type { Store } from "../../src/store/store.js";
import { PublishOnCommit } from "../../src/strategies/publish-on-commit.js";
import { StreamLeaseKeeper } from "../../src/strategies/stream-lease.js";
import { definitionOf, runContext, slotsWithSuspects, storedCall } from "../support/definitions.js";

const LEASE_MS = 200;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

function claimed(id: string): ClaimedCall {
  return { ...storedCall({ seq: id, id }), lease: { seq: id, token: "token" }, isSuspect: false };
}

/** As a process that is frozen: no timer fires and no answer is read. */
function standStill(): void {
  const until = performance.now() + LEASE_MS + 20;
  while (performance.now() < until);
}

/** One slot, calls that were claimed together, and a function in whose first run the process stands still. */
function relaying(calls: ClaimedCall[], store: Partial<Store>, first: () => void) {
  const ran: string[] = [];
  const events = new Events(silent);
  const lost: string[] = [];
  events.on("leaseLost", ({ call }) => void lost.push(call!.id));
  const registry = new Registry(superjsonCodec);
  let runs = 0;
  registry.register(
    definitionOf({
      fn: async () => {
        ran.push(`run ${(runs += 1)}`);
        if (runs > 1) return;
        await new Promise((resolve) => setImmediate(resolve));
        first();
      },
    }),
  );
  const claims = [calls, []];
  const strategy = new PublishOnCommit({
    store: { claimDue: async () => claims.shift() ?? [], settleCalls: async () => [], ...store } as unknown as Store,
    registry,
    ...slotsWithSuspects(new Slots(1)),
    events,
    logger: silent,
    leaseMs: LEASE_MS,
    context: { ...runContext({ registry }), ...(store.readPayload && { readPayload: store.readPayload }) },
  });
  const pass = new Pass({});
  const relayed = strategy.relay("default", pass).then(() => pass.settled());
  return { ran, lost, relayed };
}

it.each<[what: string, held: string[], runs: string[], lost: string[]]>([
  ["is not begun where the lease is somebody else's", [], ["run 1"], ["b", "c"]],
  ["is begun where the lease was held all the same", ["a", "b", "c"], ["run 1", "run 2", "run 3"], []],
])("a call that waited for its slot while its lease ended %s", async (_what, held, runs, losses) => {
  const renewCalls = async (leases: readonly CallLease[]) => leases.filter(({ seq }) => held.includes(seq as string));
  const { ran, lost, relayed } = relaying([claimed("a"), claimed("b"), claimed("c")], { renewCalls }, standStill);
  await relayed;
  expect(ran).toEqual(runs);
  expect(lost.filter((id) => id !== "a")).toEqual(losses);
});

it("a call whose large payload came after its lease had ended is not begun before the lease is sure again", async () => {
  const large = { ...claimed("a"), payload: undefined } as ClaimedCall;
  let renewals = 0;
  const { ran, lost, relayed } = relaying(
    [large],
    {
      readPayload: async () => {
        standStill();
        return '{"json":[]}';
      },
      renewCalls: async () => {
        renewals += 1;
        return [];
      },
    },
    () => undefined,
  );
  await relayed;
  expect([ran, lost, renewals]).toEqual([[], ["a"], 1]);
});

it.each([
  ["is not begun where the stream is somebody else's", false, 0],
  ["is begun where the stream was held all the same", true, 1],
])("a keep-order call whose large payload came after the stream's lease had ended %s", async (_what, isHeld, runs) => {
  let ran = 0;
  const definition = definitionOf({ fn: () => void (ran += 1) });
  const registry = new Registry(superjsonCodec);
  registry.register(definition);
  const keeper = new StreamLeaseKeeper({
    store: { renewStream: async () => isHeld },
    events: new Events(silent),
    logger: silent,
    lease: { stream: "default", token: "token", fence: 1, isTakenOver: false },
    leaseMs: LEASE_MS,
    askedAt: performance.now(),
    onLost: () => undefined,
  });
  const readPayload = async () => {
    standStill();
    return superjsonCodec.encode([]);
  };
  const call = storedCall({ strategy: "keep-order", payload: undefined });
  const { result } = await run(call, definition, keeper.begin(), runContext({ registry, readPayload }));
  keeper.stop();
  expect(ran).toBe(runs);
  expect(result).toMatchObject(
    isHeld ? { kind: "succeeded" } : { kind: "failed", error: expect.any(LeaseLostError) as unknown },
  );
});
