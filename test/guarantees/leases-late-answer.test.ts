import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { Events } from "../../src/events.js";
import { LeaseKeeper } from "../../src/run/lease-keeper.js";
import type { ClaimedCall } from "../../src/store/claim-calls.js";
import { StreamLeaseKeeper } from "../../src/strategies/stream-lease.js";
import { storedCall } from "../support/definitions.js";
import { deferred } from "../support/waiting.js";

const LEASE_MS = 600;
const logger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * A database that has renewed, and whose answer waits on the connection while something blocks the event loop for longer than
 * the lease. Its end is seen first by the timers, and the answer some turns later.
 */
async function answeredDuringBlock(): Promise<void> {
  await turn();
  const endsAt = performance.now() + 1.2 * LEASE_MS;
  while (performance.now() < endsAt);
  for (let turns = 0; turns < 3; turns++) await turn();
}

it("a call's lease is not lost whose renewal was answered while the event loop was blocked", async () => {
  const lost: string[] = [];
  const answered = deferred();
  let renewals = 0;
  const leases = new LeaseKeeper({
    store: {
      renewCalls: async (all) => {
        if (++renewals === 1) await answeredDuringBlock();
        else answered.resolve();
        return [...all];
      },
    },
    leaseMs: LEASE_MS,
    logger,
    onLost: ({ id }) => void lost.push(id),
  });
  const call: ClaimedCall = {
    ...storedCall({ seq: "1", id: "a" }),
    lease: { seq: "1", token: "token" },
    isSuspect: false,
  };
  const kept = leases.keep(call, performance.now())!;
  const { signal } = kept;
  await Promise.race([answered.promise, new Promise((end) => (signal.onabort = end))]);
  expect([lost, signal.aborted, leases.forget(kept)]).toEqual([[], false, true]);
});

it("a stream's lease is not lost whose renewal was answered while the event loop was blocked", async () => {
  const lost: string[] = [];
  const answered = deferred();
  let renewals = 0;
  const keeper = new StreamLeaseKeeper({
    store: {
      renewStream: async () => {
        if (++renewals === 1) await answeredDuringBlock();
        else answered.resolve();
        return true;
      },
    },
    events: new Events(logger),
    logger,
    lease: { stream: "orders", token: "token", fence: 1, isTakenOver: false },
    leaseMs: LEASE_MS,
    askedAt: performance.now(),
    onLost: () => void lost.push("orders"),
  });
  const { signal } = keeper.begin();
  await Promise.race([answered.promise, new Promise((end) => (signal.onabort = end))]);
  expect([lost, keeper.isLost]).toEqual([[], false]);
  keeper.stop();
});
