import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Settler, type Settling } from "../../src/run/settle.js";
import { stubbornly } from "../../src/run/stubbornly.js";
import type { CallSettlement } from "../../src/store/settle-calls.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("stubbornly", () => {
  it("tries again, ever later, until it succeeds", async () => {
    const begin = Date.now();
    const tries: number[] = [];
    const result = stubbornly(async () => {
      tries.push(Date.now() - begin);
      if (tries.length < 5) throw new Error("down");
      return "done";
    }, 60_000);
    await vi.advanceTimersByTimeAsync(750);
    expect(await result).toBe("done");
    expect(tries).toEqual([0, 50, 150, 350, 750]);
  });

  it("rejects with the last error once its time is over, and pauses for 5 s at most", async () => {
    const begin = Date.now();
    const tries: number[] = [];
    const result = stubbornly(async () => {
      tries.push(Date.now() - begin);
      throw new Error(`down ${tries.length}`);
    }, 30_000).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(await result).toMatchObject({ message: `down ${tries.length}` });
    expect(tries.at(-1)).toBeLessThanOrEqual(30_000);
    expect(tries.at(-1)! - tries.at(-2)!).toBe(5000);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the settler", () => {
  const settlement = (seq: number): CallSettlement => ({ lease: { seq, token: "t" }, settled: { state: "deleted" } });

  function open(settleCalls: (all: readonly CallSettlement[]) => Promise<CallSettlement[]>) {
    const logged: string[] = [];
    const log = (_fields: object, message: string) => void logged.push(message);
    const logger = { debug: log, info: log, warn: log, error: log };
    const settler = new Settler({ store: { settleCalls }, leaseMs: 3000, logger });
    const settle = (seq: number) =>
      new Promise<Settling>((resolve) => settler.settle({ ...settlement(seq), concluded: resolve }));
    return { settle, logged };
  }

  it("settles many together, and tells each whether its lease was lost", async () => {
    const groups: number[] = [];
    const { settle } = open(async (all) => {
      groups.push(all.length);
      return all.filter(({ lease }) => lease.seq === 2);
    });
    const settled = [1, 2, 3].map(settle);
    expect(await Promise.all(settled)).toEqual(["settled", "lease-lost", "settled"]);
    expect(groups).toEqual([3]);
  });

  it("settles each alone where they cannot be settled together, so that one harms no other", async () => {
    const { settle, logged } = open(async (all) => {
      if (all.some(({ lease }) => lease.seq === 2)) throw new Error("invalid byte sequence");
      return [];
    });
    const settled = [1, 2, 3].map(settle);
    expect(await Promise.all([settled[0], settled[2]])).toEqual(["settled", "settled"]);
    expect(await settle(4)).toBe("settled");
    await vi.advanceTimersByTimeAsync(3000);
    expect(await settled[1]).toBe("unsettled");
    expect(logged).toEqual([
      "outcomes could not be settled together; each is tried alone",
      "an outcome could not be settled; the call will run again when its lease ends",
    ]);
  });

  it("settles in the end what the database did not take at first", async () => {
    let tries = 0;
    const { settle } = open(async () => {
      if (++tries < 4) throw new Error("ECONNREFUSED");
      return [];
    });
    const settled = settle(1);
    await vi.advanceTimersByTimeAsync(1000);
    expect(await settled).toBe("settled");
  });
});
