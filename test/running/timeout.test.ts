import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { currentCall, RunTimeoutError } from "../../src/index.js";
import { LazyAbort } from "../../src/run/lazy-abort.js";
import { type Outcome, run } from "../../src/run/run.js";
import { definitionOf, runContext, storedCall } from "../support/definitions.js";
import { deferred } from "../support/waiting.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A run of a function that takes a minute's timeout and is abandoned after five. */
function start(fn: () => unknown, overrides: Parameters<typeof definitionOf>[0] = {}) {
  const definition = definitionOf({ fn, timeoutMs: 60_000, ...overrides });
  const seen: { outcome?: Outcome } = {};
  const lease = new LazyAbort();
  const ended = run(storedCall({ version: 1 }), definition, lease, runContext({ abandonAfterMs: 300_000 })).then(
    (outcome) => (seen.outcome = outcome),
  );
  return { seen, ended, signal: lease.signal };
}

it("aborts the signal at the timeout, and not before", async () => {
  let signal: AbortSignal | undefined;
  const end = deferred();
  const { ended } = start(() => {
    signal = currentCall()!.signal;
    return end.promise;
  });
  await vi.advanceTimersByTimeAsync(59_999);
  expect(signal!.aborted).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(signal!.aborted).toBe(true);
  expect(signal!.reason).toBeInstanceOf(RunTimeoutError);
  expect(String(signal!.reason)).toContain("note has been running for its timeout of 60000 ms");
  end.resolve();
  await ended;
});

it("counts a success after the timeout", async () => {
  const end = deferred();
  const { seen, ended } = start(() => end.promise);
  await vi.advanceTimersByTimeAsync(200_000);
  expect(seen.outcome).toBeUndefined();
  end.resolve();
  expect(await ended).toMatchObject({ result: { kind: "succeeded" }, durationMs: 200_000 });
  expect(vi.getTimerCount()).toBe(0);
});

it("fails with the signal's reason where the function honours it", async () => {
  const { ended } = start(
    () =>
      new Promise((_resolve, reject) => {
        const { signal } = currentCall()!;
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
  );
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await ended).toMatchObject({
    result: { kind: "failed", isAbandoned: false, error: expect.any(RunTimeoutError) as Error },
  });
});

it("abandons a function that never returns, and ignores how it ends later", async () => {
  const end = deferred();
  const { seen, ended } = start(() => end.promise);
  await vi.advanceTimersByTimeAsync(299_999);
  expect(seen.outcome).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  const { result } = await ended;
  expect(result).toMatchObject({ kind: "failed", isAbandoned: true, error: expect.any(RunTimeoutError) as Error });
  expect(String((result as { error: unknown }).error)).toContain("had not returned after 300000 ms and was abandoned");
  end.reject(new Error("much too late"));
  await vi.advanceTimersByTimeAsync(0);
});

it("abandons no run before its own timeout, and says after how long it did", async () => {
  const { seen, ended, signal } = start(() => new Promise(() => {}), { timeoutMs: 900_000 });
  await vi.advanceTimersByTimeAsync(899_999);
  expect(seen.outcome).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  const { result } = await ended;
  expect(String((result as { error: unknown }).error)).toContain("had not returned after 900000 ms");
  expect(signal.aborted).toBe(true);
});

it("abandons an upcast that does not return, too, and calls no function once it does", async () => {
  const upcast = deferred<[]>();
  const fn = vi.fn();
  const { ended } = start(fn, { version: 2, upcast: () => upcast.promise });
  await vi.advanceTimersByTimeAsync(300_000);
  expect(await ended).toMatchObject({ result: { kind: "failed", isAbandoned: true } });
  upcast.resolve([]);
  await vi.advanceTimersByTimeAsync(0);
  expect(fn).not.toHaveBeenCalled();
});

it("leaves no timer behind a run", async () => {
  const { ended } = start(() => undefined);
  expect(await ended).toMatchObject({ result: { kind: "succeeded" } });
  const { ended: failed } = start(() => {
    throw new Error("down");
  });
  expect(await failed).toMatchObject({ result: { kind: "failed", isAbandoned: false, error: { message: "down" } } });
  expect(vi.getTimerCount()).toBe(0);
});
