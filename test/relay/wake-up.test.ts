import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { WakeUp } from "../../src/relay/wake-up.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function isOver(sleep: Promise<void>): Promise<boolean> {
  return Promise.race([sleep.then(() => true), Promise.resolve().then(() => Promise.resolve().then(() => false))]);
}

it("sleeps its time, and leaves no timer behind", async () => {
  const wakeUp = new WakeUp();
  const sleep = wakeUp.sleep(1000);
  await vi.advanceTimersByTimeAsync(999);
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  await sleep;
  expect(vi.getTimerCount()).toBe(0);
});

it("is woken before its time", async () => {
  const wakeUp = new WakeUp();
  const sleep = wakeUp.sleep(1000);
  wakeUp.ring();
  wakeUp.ring();
  await sleep;
  expect(vi.getTimerCount()).toBe(0);
});

it("remembers a ring that nobody heard, for one sleep", async () => {
  const wakeUp = new WakeUp();
  wakeUp.ring();
  wakeUp.ring();
  await wakeUp.sleep(1000);
  const next = wakeUp.sleep(1000);
  expect(await isOver(next)).toBe(false);
  await vi.advanceTimersByTimeAsync(1000);
  await next;
});
