import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LeaseLostError } from "../../src/index.js";
import { type Kept, LeaseKeeper } from "../../src/run/lease-keeper.js";
import type { ClaimedCall } from "../../src/store/claim-calls.js";
import { storedCall } from "../support/definitions.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

type Lease = ClaimedCall["lease"];

function claimed(id: string): ClaimedCall {
  return { ...storedCall({ seq: id, id }), lease: { seq: id, token: "token" }, isSuspect: false };
}

/** A keeper of leases of 3 s, whose renewals a test answers. */
function keeper(renewCalls: (leases: readonly Lease[]) => Promise<Lease[]>) {
  const lost: string[] = [];
  const warnings: string[] = [];
  const logger = {
    debug() {},
    info() {},
    error() {},
    warn: (_fields: object, message: string) => void warnings.push(message),
  };
  const leases = new LeaseKeeper({
    store: { renewCalls },
    leaseMs: 3000,
    logger,
    onLost: ({ id }) => void lost.push(id),
  });
  return { leases, lost, warnings };
}

it("renews all that it keeps together, three times in a lease, and nothing else", async () => {
  const renewed: string[][] = [];
  const { leases, lost } = keeper(async (all) => {
    renewed.push(all.map(({ seq }) => String(seq)));
    return [...all];
  });
  const [a, b] = ["a", "b"].map((id) => leases.keep(claimed(id), performance.now())!) as [Kept, Kept];
  await vi.advanceTimersByTimeAsync(2000);
  expect(leases.forget(a)).toBe(true);
  await vi.advanceTimersByTimeAsync(1000);
  expect(renewed).toEqual([["a", "b"], ["a", "b"], ["b"]]);
  expect(leases.forget(b)).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  await vi.advanceTimersByTimeAsync(5000);
  expect(renewed).toHaveLength(3);
  expect(lost).toEqual([]);
});

it("aborts the run of a lease that is gone, tells of it once, and goes on with the others", async () => {
  const { leases, lost } = keeper(async (all) => all.filter(({ seq }) => seq !== "a"));
  const [a, b] = ["a", "b"].map((id) => leases.keep(claimed(id), performance.now())!) as [Kept, Kept];
  const signals = [a, b].map(({ signal }) => signal);
  await vi.advanceTimersByTimeAsync(3000);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  expect(signals[0]!.reason).toBeInstanceOf(LeaseLostError);
  expect(lost).toEqual(["a"]);
  expect(leases.forget(a)).toBe(false);
  leases.forget(b);
});

it("takes no lease for lost because the database did not answer once, and tries again", async () => {
  let tries = 0;
  const { leases, lost, warnings } = keeper(async (all) => {
    tries += 1;
    if (tries === 1) throw new Error("ECONNRESET");
    return [...all];
  });
  const a = leases.keep(claimed("a"), performance.now())!;
  const { signal } = a;
  await vi.advanceTimersByTimeAsync(4000);
  expect(tries).toBe(4);
  expect([signal.aborted, lost, warnings.length]).toEqual([false, [], 1]);
  leases.forget(a);
});

it.each([
  ["is refused", () => Promise.reject(new Error("ECONNRESET"))],
  ["never comes", () => new Promise<never>(() => undefined)],
])("takes a lease for lost when it has ended and every answer %s", async (_how, answer) => {
  const { leases, lost } = keeper(answer);
  const { signal } = leases.keep(claimed("a"), performance.now())!;
  await vi.advanceTimersByTimeAsync(2900);
  expect([signal.aborted, lost]).toEqual([false, []]);
  await vi.advanceTimersByTimeAsync(200);
  expect([signal.aborted, lost]).toEqual([true, ["a"]]);
});

it("keeps nothing of a claim that took longer than its lease", () => {
  const { leases } = keeper(async (all) => [...all]);
  expect(leases.keep(claimed("a"), performance.now() - 3000)).toBeUndefined();
});

it("renews a great many in several statements", async () => {
  const sizes: number[] = [];
  const { leases, lost } = keeper(async (all) => {
    sizes.push(all.length);
    return [...all];
  });
  for (let n = 0; n < 2500; n++) leases.keep(claimed(`${n}`), performance.now());
  await vi.advanceTimersByTimeAsync(1000);
  expect(sizes).toEqual([1000, 1000, 500]);
  expect(lost).toEqual([]);
});
