import { describe, expect, it } from "vitest";
import { InvalidOptionError, type Retry, UnrecoverableError } from "../../src/index.js";
import { delayAfter, resolveRetry } from "../../src/run/retry.js";

const error = new Error("down");
const HOUR = 3_600_000;

function delays(retry: Retry, attempts: number, random = () => 0.5): (number | false)[] {
  const policy = resolveRetry("retry", retry, random);
  return Array.from({ length: attempts }, (_, index) => policy.delayAfter({ error, attempt: index + 1, ageMs: 0 }));
}

describe("a schedule", () => {
  it("doubles from 1 s to 10 min unless told otherwise", () => {
    expect(delays({}, 12).map((ms) => Number(ms) / 1000)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
  });

  it("takes durations as texts, and a factor", () => {
    expect(delays({ initialDelay: "2s", factor: 1.5, maxDelay: "4s" }, 4)).toEqual([2000, 3000, 4000, 4000]);
    expect(delays({ initialDelay: 7, factor: 1 }, 3)).toEqual([7, 7, 7]);
  });

  it("stays a number after any number of attempts", () => {
    const after = (initialDelay: number) =>
      resolveRetry("retry", { initialDelay, jitter: 0 }).delayAfter({ error, attempt: 5000, ageMs: 0 });
    expect(after(1)).toBe(600_000);
    expect(after(0)).toBe(0);
  });

  it("varies a delay by its share of jitter, either way, and no further", () => {
    expect(delays({ initialDelay: 1000, jitter: 0.2 }, 1, () => 0)).toEqual([800]);
    expect(delays({ initialDelay: 1000, jitter: 0.2 }, 1, () => 1)).toEqual([1200]);
    expect(delays({ initialDelay: 1000, jitter: 1 }, 1, () => 0)).toEqual([0]);
    expect(delays({ initialDelay: 1000, jitter: 0 }, 1, () => 1)).toEqual([1000]);
    const random = Array.from({ length: 1000 }, () => delays({ initialDelay: 1000 }, 1, Math.random)[0] as number);
    expect(Math.min(...random)).toBeGreaterThanOrEqual(800);
    expect(Math.max(...random)).toBeLessThanOrEqual(1200);
    expect(new Set(random).size).toBeGreaterThan(100);
  });

  it("gives up after maxAttempts, and where a call is older than giveUpAfter", () => {
    expect(delays({ maxAttempts: 3 }, 4).map((ms) => ms === false)).toEqual([false, false, true, true]);
    const policy = resolveRetry("retry", { giveUpAfter: "1h" });
    expect(policy.delayAfter({ error, attempt: 1, ageMs: HOUR - 1 })).not.toBe(false);
    expect(policy.delayAfter({ error, attempt: 1, ageMs: HOUR })).toBe(false);
    const week = resolveRetry("retry", {});
    expect(week.delayAfter({ error, attempt: 1, ageMs: 7 * 24 * HOUR - 1 })).not.toBe(false);
    expect(week.delayAfter({ error, attempt: 1, ageMs: 7 * 24 * HOUR })).toBe(false);
  });

  it("gives up on an UnrecoverableError, also one of another copy of this library", () => {
    const foreign = Object.assign(new Error("no"), { code: new UnrecoverableError("").code });
    for (const last of [new UnrecoverableError("no"), foreign]) {
      for (const retry of [{}, () => 5]) {
        expect(resolveRetry("retry", retry).delayAfter({ error: last, attempt: 1, ageMs: 0 })).toBe(false);
      }
    }
  });

  it.each<[option: string, retry: unknown]>([
    ["retry", 5],
    ["retry", null],
    ["retry.maxTries", { maxTries: 5 }],
    ["retry.initialDelay", { initialDelay: "soon" }],
    ["retry.maxDelay", { maxDelay: -1 }],
    ["retry.giveUpAfter", { giveUpAfter: NaN }],
    ["retry.factor", { factor: 0.5 }],
    ["retry.factor", { factor: Infinity }],
    ["retry.jitter", { jitter: 1.1 }],
    ["retry.jitter", { jitter: NaN }],
    ["retry.maxAttempts", { maxAttempts: 0 }],
    ["retry.maxAttempts", { maxAttempts: 1.5 }],
  ])("is refused by the name of what is wrong: %s of %o", (option, retry) => {
    expect(() => resolveRetry("retry", retry as Retry)).toThrow(
      expect.objectContaining({ constructor: InvalidOptionError, option }),
    );
  });
});

describe("a function as the policy", () => {
  const noLogger = { debug() {}, info() {}, warn() {}, error() {} };

  it("is asked with the error and the attempt", () => {
    const asked: unknown[] = [];
    const retry: Retry = (...args) => asked.push(args) * 100;
    expect(delays(retry, 2)).toEqual([100, 200]);
    expect(asked).toEqual([
      [error, 1],
      [error, 2],
    ]);
    expect(delays(() => false, 1)).toEqual([false]);
  });

  it.each<[how: string, retry: () => unknown]>([
    [
      "throws",
      () => {
        throw new Error("a bug");
      },
    ],
    ["returns NaN", () => NaN],
    ["returns Infinity", () => Infinity],
    ["returns less than nothing", () => -1],
    ["returns nothing", () => undefined],
    ["returns true", () => true],
    ["returns a text", () => "5s"],
    ["is async, and rejects", async () => Promise.reject(new Error("a bug"))],
  ])("that %s is logged, and the default policy asked instead", (_how, retry) => {
    const logged: unknown[] = [];
    const logger = { ...noLogger, error: (fields: object) => void logged.push(fields) };
    const definition = { name: "doomed", retry: resolveRetry("retry", retry as Retry) };
    const delayMs = delayAfter(definition, { error, attempt: 2, ageMs: 0 }, logger);
    expect(delayMs).toBeGreaterThanOrEqual(1600);
    expect(delayMs).toBeLessThanOrEqual(2400);
    expect(logged).toMatchObject([{ function: "doomed", err: expect.any(Error) as Error }]);
  });

  it("may look at an error that throws when it is looked at", () => {
    const trap = new Proxy(new Error("trap"), {
      get() {
        throw new Error("do not look");
      },
    });
    const definition = { name: "doomed", retry: resolveRetry("retry", {}) };
    expect(delayAfter(definition, { error: trap, attempt: 1, ageMs: 0 }, noLogger)).toBeGreaterThan(0);
  });

  it("waits at most a hundred years", () => {
    for (const retry of [() => Number.MAX_VALUE, { initialDelay: Number.MAX_VALUE, maxDelay: Number.MAX_VALUE }]) {
      const definition = { name: "doomed", retry: resolveRetry("retry", retry) };
      expect(delayAfter(definition, { error, attempt: 1, ageMs: 0 }, noLogger)).toBe(100 * 365 * 24 * HOUR);
    }
  });
});
