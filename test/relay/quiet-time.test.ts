import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Events } from "../../src/events.js";
import { QuietStreams } from "../../src/relay/quiet-streams.js";
import { Slots } from "../../src/run/slots.js";
import type { Look } from "../../src/store/look-again.js";
import { type Keeping, QuietTime } from "../../src/strategies/quiet-time.js";
import { StreamLeaseKeeper } from "../../src/strategies/stream-lease.js";
import { deferred } from "../support/waiting.js";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "performance"] }));
afterEach(() => void vi.useRealTimers());

const LEASE_MS = 60_000;
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const nothing: Look = { isLost: false, calls: [] };

/** A quiet time whose looks the test answers. */
function open(answer: (look: number) => Look | Promise<Look> = () => nothing, keeping: Partial<Keeping> = {}) {
  const woken = deferred();
  let looks = 0;
  const lease = { stream: "orders", token: "a", fence: 1, isTakenOver: false };
  const told: string[] = [];
  const events = new Events(silent);
  events.on("leaseLost", () => void told.push("leaseLost"));
  const store = {
    renewStream: async () => {
      told.push("renewed");
      return true;
    },
    lookAgain: async () => answer(++looks),
  };
  const slots = new Slots(1);
  const parts = { store, events, logger: silent, lease, leaseMs: LEASE_MS };
  const keeper = new StreamLeaseKeeper({ ...parts, askedAt: performance.now(), onLost: () => undefined });
  let end: () => void = () => undefined;
  const quiet = new QuietTime({
    ...parts,
    slots,
    keeper,
    pollIntervalMs: 1000,
    keeping: {
      isWorthwhile: () => true,
      began: (given) => {
        told.push("began");
        end = given;
      },
      ended: () => void told.push("ended"),
      ...keeping,
    },
  });
  return { quiet, woken, looks: () => looks, told, slots, keeper, end: () => end() };
}

it("is looked at each second, and given back after five", async () => {
  const { quiet, woken, looks, told } = open();
  const passed = quiet.pass(woken.promise);
  await vi.advanceTimersByTimeAsync(4999);
  expect(looks()).toBe(5);
  await vi.advanceTimersByTimeAsync(1);
  expect(await passed).toBe(false);
  expect(told).toEqual(["began", "ended"]);
});

it("ends by a wake-up, and what runs after the look that follows is told of a lost lease", async () => {
  const { quiet, woken, keeper, told } = open();
  const passed = quiet.pass(woken.promise);
  await vi.advanceTimersByTimeAsync(10);
  woken.resolve();
  expect(await passed).toBe(true);
  await quiet.look(500);
  keeper.lose();
  expect(told).toEqual(["began", "ended", "leaseLost"]);
});

it("ends by what a poll finds, and by what only a closer look can tell", async () => {
  for (const found of [{ isLost: false, calls: [{}] } as unknown as Look, { isLost: false }]) {
    const { quiet, woken } = open((look) => (look === 3 ? found : nothing));
    const passed = quiet.pass(woken.promise);
    await vi.advanceTimersByTimeAsync(2000);
    expect(await passed).toBe(true);
  }
});

it("is given up where the closer look has found nothing, rather than begun again and again", async () => {
  const { quiet, woken } = open(() => ({ isLost: false }));
  expect(await quiet.pass(woken.promise)).toBe(true);
  expect(await quiet.pass(woken.promise)).toBe(false);
});

it("is given back at once when it is told to, and is not begun where it is not worthwhile", async () => {
  const one = open();
  const passed = one.quiet.pass(one.woken.promise);
  await vi.advanceTimersByTimeAsync(10);
  one.end();
  expect(await passed).toBe(false);
  const other = open(undefined, { isWorthwhile: () => false });
  expect(await other.quiet.pass(other.woken.promise)).toBe(false);
  expect(other.looks()).toBe(0);
});

it("is left to others while nothing could be run here", async () => {
  const { quiet, woken, slots } = open();
  const passed = quiet.pass(woken.promise);
  await vi.advanceTimersByTimeAsync(10);
  await slots.take();
  woken.resolve();
  expect(await passed).toBe(false);
  expect(await quiet.pass(woken.promise)).toBe(false);
});

it("loses its lease without a word, since nothing ran", async () => {
  const { quiet, woken, told, keeper } = open(() => ({ isLost: true }));
  expect(await quiet.pass(woken.promise)).toBe(false);
  expect(keeper.isLost).toBe(true);
  expect(told).toEqual(["began", "ended"]);
});

it("is given back, and its lease not lost, where the database does not answer", async () => {
  const { quiet, woken, told, keeper } = open(() => Promise.reject(new Error("down")));
  expect(await quiet.pass(woken.promise)).toBe(false);
  expect(keeper.isLost).toBe(false);
  expect(told).toEqual(["began", "ended"]);
  keeper.stop();
});

it("has its lease renewed as ever", async () => {
  const { quiet, woken, told, keeper, end } = open(() => new Promise(() => undefined));
  void quiet.pass(woken.promise);
  await vi.advanceTimersByTimeAsync(LEASE_MS / 2);
  expect(told).toEqual(["began", "renewed"]);
  end();
  keeper.stop();
});

it("is kept for a number of streams; beyond that the one that was quiet for longest goes", () => {
  const ended: string[] = [];
  const quiet = new QuietStreams(2);
  const add = (key: string) => quiet.add(key, () => void ended.push(key));
  ["a", "b"].forEach(add);
  quiet.delete("a");
  ["a", "c"].forEach(add);
  expect(ended).toEqual(["b"]);
  expect(quiet.count).toBe(2);
  quiet.endAll();
  expect(ended).toEqual(["b", "a", "c"]);
  expect(quiet.count).toBe(0);
});
