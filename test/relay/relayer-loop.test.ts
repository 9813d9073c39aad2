import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Pass } from "../../src/run/pass.js";
import { type LoopOptions, RelayLoop } from "../../src/relay/relayer.js";
import type { DueStream } from "../../src/store/due-streams.js";
import type { Keeping } from "../../src/strategies/quiet-time.js";
import { deferred } from "../support/waiting.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const MINUTE = 60_000;

/** A loop on a store and strategies of a test's own, with what it logged as errors. */
function start(
  dueStreams: () => Promise<DueStream[]>,
  serve: (stream: string, pass: Pass, keeping?: Keeping) => Promise<boolean> = async () => false,
  options: Partial<LoopOptions> = {},
) {
  const errors: string[] = [];
  const logger = {
    debug() {},
    info() {},
    warn() {},
    error: (_fields: object, message: string) => void errors.push(message),
  };
  const loop = new RelayLoop({
    store: {
      checkSchema: () => Promise.resolve(),
      readClock: () => Promise.resolve(0),
      dueStreams,
      dueAmong: async (streams) => (await dueStreams()).filter(({ stream }) => streams.includes(stream)),
    },
    publishOnCommit: {
      relay: serve,
    } as unknown as LoopOptions["publishOnCommit"],
    keepOrder: { relay: serve } as unknown as LoopOptions["keepOrder"],
    concurrency: 4,
    intervalMs: 1000,
    logger,
    ...options,
  });
  return { loop, errors };
}

function orders(...streams: string[]): DueStream[] {
  return streams.map((stream) => ({ stream, strategy: "keep-order" }));
}

it("looks at once, at every interval, and when it is woken", async () => {
  const looks: number[] = [];
  const { loop } = start(async () => {
    looks.push(Date.now());
    return [];
  });
  const begin = Date.now();
  await vi.advanceTimersByTimeAsync(2500);
  loop.wake();
  await vi.advanceTimersByTimeAsync(999);
  expect(looks.map((at) => at - begin)).toEqual([0, 1000, 2000, 2500]);
  await loop.stop();
  await vi.advanceTimersByTimeAsync(MINUTE);
  expect(looks).toHaveLength(4);
  expect(vi.getTimerCount()).toBe(0);
});

it("looks again when it was woken while it looked", async () => {
  let looks = 0;
  const { loop } = start(async () => {
    looks += 1;
    if (looks === 1) loop.wake();
    return [];
  });
  await vi.advanceTimersByTimeAsync(1);
  expect(looks).toBe(2);
  await loop.stop();
});

it("looks less and less often while the database does not answer, down to every 30 s, and as before once it does", async () => {
  const looks: number[] = [];
  let isDown = true;
  const { loop, errors } = start(async () => {
    looks.push(Date.now());
    if (isDown) throw new Error("ECONNREFUSED");
    return [];
  });
  await vi.advanceTimersByTimeAsync(3 * MINUTE);
  const pauses = looks.slice(1).map((at, index) => (at - looks[index]!) / 1000);
  expect(pauses).toEqual([2, 4, 8, 16, 30, 30, 30, 30, 30]);
  expect(errors[1]).toBe("a relayer could not look for due calls; it tries again in 4000 ms");
  isDown = false;
  await vi.advanceTimersByTimeAsync(30_000);
  looks.length = 0;
  await vi.advanceTimersByTimeAsync(5000);
  expect(looks).toHaveLength(5);
  await loop.stop();
});

it("takes an interval longer than 30 s as it is", async () => {
  const looks: number[] = [];
  const { loop } = start(
    async () => {
      looks.push(Date.now());
      throw new Error("ECONNREFUSED");
    },
    undefined,
    { intervalMs: 5 * MINUTE },
  );
  await vi.advanceTimersByTimeAsync(11 * MINUTE);
  expect(looks).toHaveLength(3);
  await loop.stop();
});

it("leaves a stream alone that cannot be served, longer each time until it can, and no other", async () => {
  const served: Record<string, number[]> = { a: [], b: [] };
  let isDown = true;
  const { loop, errors } = start(
    async () => orders("a", "b"),
    async (stream) => {
      served[stream]!.push(Date.now());
      if (stream === "a" && isDown) throw new Error("ECONNRESET");
      return false;
    },
  );
  const begin = Date.now();
  const seconds = (stream: string) => served[stream]!.map((at) => (at - begin) / 1000);
  await vi.advanceTimersByTimeAsync(15_001);
  expect(seconds("a")).toEqual([0, 2, 6, 14]);
  expect(served["b"]).toHaveLength(16);
  expect(errors.slice(0, 2)).toEqual([
    'a relayer could not serve the stream "a"; it tries again in 2000 ms',
    'a relayer could not serve the stream "a"; it tries again in 4000 ms',
  ]);
  isDown = false;
  await vi.advanceTimersByTimeAsync(17_000);
  expect(seconds("a").slice(4)).toEqual([30, 31, 32]);
  await loop.stop();
});

it("serves as many streams at once as there are slots, the next as soon as one has ended, and none twice at a time", async () => {
  const serving = new Map<string, () => void>();
  const begun: string[] = [];
  let due = orders("a", "b", "c", "d", "e", "f");
  const { loop } = start(
    async () => due,
    async (stream) => {
      const end = deferred();
      expect(serving.has(stream)).toBe(false);
      serving.set(stream, end.resolve);
      begun.push(stream);
      await end.promise;
      serving.delete(stream);
      return false;
    },
  );
  await vi.advanceTimersByTimeAsync(3000);
  expect([...serving.keys()]).toEqual(["a", "b", "c", "d"]);
  due = orders("c", "d", "e", "f");
  serving.get("a")!();
  await vi.advanceTimersByTimeAsync(1);
  expect([...serving.keys()]).toEqual(["b", "c", "d", "e"]);
  serving.get("b")!();
  await vi.advanceTimersByTimeAsync(1);
  expect(begun).toEqual(["a", "b", "c", "d", "e", "f"]);
  due = [];
  for (const end of serving.values()) end();
  await loop.stop();
});

it("serves each stream in turn, also where some are always due", async () => {
  const begun: string[] = [];
  const { loop } = start(
    async () => orders("a", "b", "c", "d", "e"),
    async (stream) => {
      begun.push(stream);
      await new Promise((resolve) => setTimeout(resolve, 10));
      return false;
    },
    { concurrency: 2 },
  );
  await vi.advanceTimersByTimeAsync(50);
  expect(begun.slice(0, 10).join("")).toBe("abcdeabcde");
  const stopped = loop.stop();
  await vi.advanceTimersByTimeAsync(10);
  await stopped;
});

it("takes the stream from one that always has something to do, after a while, where others wait", async () => {
  const begun: string[] = [];
  let due = orders("a");
  const { loop } = start(
    async () => due,
    async (stream, pass) => {
      begun.push(stream);
      while (!pass.isOver) await new Promise((resolve) => setTimeout(resolve, 10));
      return false;
    },
    { concurrency: 1, intervalMs: 60 * MINUTE },
  );
  await vi.advanceTimersByTimeAsync(10_000);
  expect(begun).toEqual(["a"]);
  due = orders("a", "b", "c");
  loop.wake();
  await vi.advanceTimersByTimeAsync(2500);
  expect(begun.slice(0, 3)).toEqual(["a", "b", "c"]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(begun.slice(0, 7)).toEqual(["a", "b", "c", "a", "b", "c", "a"]);
  due = [];
  const stopped = loop.stop();
  await vi.advanceTimersByTimeAsync(100);
  await stopped;
});

it("looks again after a stream that was woken too late to see what woke it", async () => {
  const ending = deferred();
  let looks = 0;
  let served = 0;
  const { loop } = start(
    // While it is served, a stream is nobody else's to find.
    async () => (looks++ === 1 ? [] : orders("a")),
    async () => {
      served += 1;
      if (served === 1) await ending.promise;
      return false;
    },
    { intervalMs: 60 * MINUTE },
  );
  await vi.advanceTimersByTimeAsync(1);
  loop.wake();
  await vi.advanceTimersByTimeAsync(1);
  expect([looks, served]).toEqual([2, 1]);
  ending.resolve();
  await vi.advanceTimersByTimeAsync(1);
  expect(served).toBe(2);
  await vi.advanceTimersByTimeAsync(MINUTE);
  expect(served).toBe(2);
  await loop.stop();
});

it("leaves a stream alone for an interval after it met a call there that it cannot route", async () => {
  const served: number[] = [];
  const { loop } = start(
    async () => orders("a"),
    async () => {
      served.push(Date.now());
      return served.length === 1;
    },
  );
  await vi.advanceTimersByTimeAsync(500);
  loop.wake();
  await vi.advanceTimersByTimeAsync(499);
  expect(served).toHaveLength(1);
  loop.wake();
  await vi.advanceTimersByTimeAsync(1001);
  expect(served.length).toBeGreaterThanOrEqual(2);
  expect(served[1]! - served[0]!).toBeGreaterThanOrEqual(1000);
  await loop.stop();
});

it("stops once what it serves has ended, and begins nothing more", async () => {
  const end = deferred();
  let served = 0;
  const { loop } = start(
    async () => orders("a", "b"),
    async (stream) => {
      served += 1;
      if (stream === "a") await end.promise;
      return false;
    },
  );
  await vi.advanceTimersByTimeAsync(1);
  expect(served).toBe(2);
  let isStopped = false;
  const stopping = Promise.all([loop.stop(), loop.stop()]).then(() => (isStopped = true));
  await vi.advanceTimersByTimeAsync(MINUTE);
  expect(isStopped).toBe(false);
  end.resolve();
  await stopping;
  expect(served).toBe(2);
});

it("looks sooner after something was found, where nothing tells of new calls, and no oftener than else while idle", async () => {
  const looks: number[] = [];
  let due: DueStream[] = [];
  const begin = Date.now();
  const { loop } = start(
    async () => {
      looks.push(Date.now() - begin);
      return due;
    },
    async () => {
      due = [];
      return false;
    },
    { looksSooner: () => true },
  );
  await vi.advanceTimersByTimeAsync(2500);
  expect(looks).toEqual([0, 1000, 2000]);
  due = orders("a");
  await vi.advanceTimersByTimeAsync(4500);
  expect(looks.slice(3)).toEqual([3000, 3050, 3150, 3350, 3750, 4550, 5550, 6550]);
  await loop.stop();
});

it("looks soon after it has served a stream for long", async () => {
  const looks: number[] = [];
  const served = deferred<boolean>();
  const begin = Date.now();
  const { loop } = start(
    async () => {
      looks.push(Date.now() - begin);
      return looks.length === 1 ? orders("a") : [];
    },
    () => served.promise,
    { looksSooner: () => true },
  );
  await vi.advanceTimersByTimeAsync(10_100);
  looks.length = 1;
  served.resolve(false);
  await vi.advanceTimersByTimeAsync(400);
  expect(looks.slice(1)).toEqual([10_150, 10_250, 10_450]);
  await loop.stop();
  expect(vi.getTimerCount()).toBe(0);
});

it("looks ever later, up to 64 ms after the last time, while it is woken for what others serve", async () => {
  const looks: number[] = [];
  let due: DueStream[] = [];
  const { loop } = start(async () => {
    looks.push(Date.now());
    return due;
  });
  await vi.advanceTimersByTimeAsync(500);
  looks.length = 0;
  for (let ms = 0; ms < 400; ms++) {
    loop.wake(orders("theirs"));
    await vi.advanceTimersByTimeAsync(1);
  }
  const pauses = () => looks.slice(1).map((at, index) => at - looks[index]!);
  expect(pauses().slice(0, 8)).toEqual([2, 4, 8, 16, 32, 64, 64, 64]);
  due = orders("theirs");
  await vi.advanceTimersByTimeAsync(100);
  due = [];
  looks.length = 0;
  loop.wake(orders("theirs"));
  await vi.advanceTimersByTimeAsync(1);
  expect(looks).toHaveLength(1);
  await loop.stop();
  expect(vi.getTimerCount()).toBe(0);
});

it("is woken at once after a quiet interval, also where it was woken in vain before", async () => {
  const looks: number[] = [];
  const { loop } = start(async () => {
    looks.push(Date.now());
    return [];
  });
  for (let n = 0; n < 10; n++) {
    loop.wake();
    await vi.advanceTimersByTimeAsync(100);
  }
  await vi.advanceTimersByTimeAsync(1001);
  const before = looks.length;
  loop.wake();
  await vi.advanceTimersByTimeAsync(0);
  expect(looks).toHaveLength(before + 1);
  await loop.stop();
});

it("looks for nothing that it serves already, until that has ended, nor for another stream than its own", async () => {
  let looks = 0;
  const served = deferred<boolean>();
  const { loop } = start(
    async () => {
      looks += 1;
      return looks === 1 ? orders("a") : [];
    },
    () => served.promise,
    { stream: "a" },
  );
  await vi.advanceTimersByTimeAsync(10);
  loop.wake(orders("a", "b"));
  await vi.advanceTimersByTimeAsync(10);
  expect(looks).toBe(1);
  served.resolve(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(looks).toBe(2);
  loop.wake(orders("b"));
  await vi.advanceTimersByTimeAsync(10);
  expect(looks).toBe(2);
  loop.wake(orders("a", "b"));
  await vi.advanceTimersByTimeAsync(1);
  expect(looks).toBe(3);
  await loop.stop();
});

it("looks at the streams alone that it is woken for, and at all of them once in an interval all the same", async () => {
  const looks: string[] = [];
  const store: LoopOptions["store"] = {
    checkSchema: () => Promise.resolve(),
    readClock: () => Promise.resolve(0),
    dueStreams: () => Promise.resolve(orders(...(looks.push("all") > 10 ? ["missed"] : []))),
    dueAmong: (streams) => Promise.resolve(orders(...(looks.push(streams.join()) > 0 ? streams : []))),
  };
  const served: string[] = [];
  const serve = async (stream: string) => served.push(stream) < 0;
  const { loop } = start(async () => [], serve, { store });
  await vi.advanceTimersByTimeAsync(1);
  for (const streams of [orders("a"), orders("b", "c"), orders("a", "b", "c", "d", "e")]) {
    loop.wake(streams);
    await vi.advanceTimersByTimeAsync(10);
  }
  loop.wake([{ stream: "a", strategy: "publish-on-commit" }]);
  await vi.advanceTimersByTimeAsync(10);
  loop.wake();
  await vi.advanceTimersByTimeAsync(10);
  expect(looks).toEqual(["all", "a", "b,c", "all", "all", "all"]);
  expect(served).toEqual(["a", "b", "c"]);
  looks.length = 0;
  for (let ms = 0; ms < 3500; ms += 100) {
    loop.wake(orders("a"));
    await vi.advanceTimersByTimeAsync(100);
  }
  expect(looks.filter((look) => look === "all").length).toBe(3);
  expect(looks.length).toBeGreaterThanOrEqual(35);
  expect(served).toContain("missed");
  await loop.stop();
});

it("keeps streams that are quiet beside those that it serves, and gives them back for more, and when it is stopped", async () => {
  const served: string[] = [];
  const ended: string[] = [];
  const serve = async (stream: string, _pass: Pass, keeping?: Keeping) => {
    served.push(stream);
    if (!keeping?.isWorthwhile()) return false;
    await new Promise<void>((end) => keeping.began(end));
    keeping.ended();
    ended.push(stream);
    return false;
  };
  let due = orders("a");
  const { loop } = start(async () => due, serve, { concurrency: 1, isTold: () => true });
  await vi.advanceTimersByTimeAsync(1);
  expect(served).toEqual(["a"]);
  due = orders("b");
  loop.wake(due);
  await vi.advanceTimersByTimeAsync(1);
  expect([served, ended]).toEqual([["a", "b"], ["a"]]);
  await loop.stop();
  expect(ended).toEqual(["a", "b"]);
});
