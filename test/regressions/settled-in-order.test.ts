import pino from "pino";
import { expect, it } from "vitest";
import type { StreamLease, StreamSettlement } from "../../src/store/serve-stream.js";
import type { Store } from "../../src/store/store.js";
import { StreamSettler } from "../../src/strategies/stream-settler.js";
import type { StreamLeaseKeeper } from "../../src/strategies/stream-lease.js";
import { heldKeeper } from "../support/definitions.js";

const lease: StreamLease = { stream: "orders", token: "token", fence: 1, isTakenOver: false };

/** A database that refuses what touches one of these calls, and what it wrote down. */
function settlerRefusing(refused: readonly number[], onRefused: (keeper: { isLost: boolean }) => void = () => {}) {
  const written: unknown[] = [];
  const keeper = heldKeeper() as StreamLeaseKeeper & { isLost: boolean };
  const store = {
    settleStream: (_lease: StreamLease, settlements: readonly StreamSettlement[]) => {
      const seqs = settlements.map((one) => ("seq" in one ? one.seq : undefined));
      if (seqs.some((seq) => refused.includes(Number(seq)))) {
        onRefused(keeper);
        return Promise.reject(new Error("refused"));
      }
      written.push(...seqs);
      return Promise.resolve(true);
    },
  };
  const settler = new StreamSettler(
    { store: store as Partial<Store> as Store, leaseMs: 1, logger: pino({ level: "silent" }) },
    lease,
    keeper,
  );
  const settle = async (...calls: [key: string, seq: number][]) => {
    const outcomes = calls.map(([key, seq]) => ({ key, settlement: { kind: "delete", seq } as const }));
    const results = await settler.settle(outcomes);
    return results.map((result) => (typeof result === "boolean" ? result : "rejected"));
  };
  return { settle, written };
}

it("what cannot be settled takes no other key along, and nothing of its own key overtakes it", async () => {
  const { settle, written } = settlerRefusing([1]);
  expect(await settle(["a", 1], ["b", 2], ["a", 3])).toEqual(["rejected", true, "rejected"]);
  expect(written).toEqual([2]);
  // Its calls that had run before the failure was known come later.
  expect(await settle(["a", 4], ["b", 5])).toEqual(["rejected", true]);
  expect(await settle(["a", 6])).toEqual(["rejected"]);
  expect(written).toEqual([2, 5]);
});

it("what ran before the lease was lost is not overtaken by what ran later, although nobody has taken over yet", async () => {
  const { settle, written } = settlerRefusing([1], (keeper) => (keeper.isLost = true));
  expect(await settle(["a", 1], ["b", 2])).toEqual([false, false]);
  expect(await settle(["a", 3], ["b", 4])).toEqual([false, false]);
  expect(written).toEqual([]);
});
