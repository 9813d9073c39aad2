import { afterEach, expect, it, vi } from "vitest";
import { Pass } from "../../src/run/pass.js";
import { deferred } from "../support/waiting.js";

afterEach(() => void vi.useRealTimers());

it("starts no more than its limit, and takes back what was reserved and not used", async () => {
  const pass = new Pass({ limit: 5 });
  expect(await pass.reserve(3)).toBe(3);
  expect(await pass.reserve(3)).toBe(2);
  expect(pass.budget).toBe(0);
  expect(pass.isOver).toBe(false);
  pass.use(3, 3);
  pass.use(1, 2);
  expect(await pass.reserve(3)).toBe(1);
  pass.use(1, 1);
  expect(pass.isOver).toBe(true);
  expect(await pass.reserve(1)).toBe(0);
});

it("lets those wait that find all of its limit reserved, until some of it is given back, or none is left", async () => {
  const pass = new Pass({ limit: 2 });
  await pass.reserve(2);
  const got: number[] = [];
  const waiting = ["one", "other"].map(async () => {
    const reserved = await pass.reserve(2);
    got.push(reserved);
    pass.use(reserved, reserved);
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(got).toEqual([]);
  pass.use(1, 2);
  await Promise.all(waiting);
  expect(got).toEqual([1, 0]);
});

it("lets nobody wait who is stopped", async () => {
  const pass = new Pass({ limit: 1 });
  await pass.reserve(1);
  const waiting = pass.reserve(1);
  pass.stop();
  expect(await waiting).toBe(0);
});

it("has no end of its own without limit and deadline", async () => {
  const pass = new Pass({});
  expect(await pass.reserve(100)).toBe(100);
  pass.use(100, 100);
  expect(pass.budget).toBe(Infinity);
  expect(pass.isOver).toBe(false);
  pass.stop();
  expect(pass.isOver).toBe(true);
  expect(await pass.reserve(1)).toBe(0);
});

it("is over at its deadline", async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  const pass = new Pass({ deadline: new Date(1_000_100) });
  vi.setSystemTime(1_000_099);
  expect(pass.isOver).toBe(false);
  vi.setSystemTime(1_000_100);
  expect(pass.isOver).toBe(true);
  expect(await pass.reserve(1)).toBe(0);
});

it("shows the first hundred blocked heads, and counts all", () => {
  const pass = new Pass({});
  for (let n = 0; n < 120; n++) pass.countBlocked({ stream: "orders", id: `${n}` });
  expect(pass.result.blockedCount).toBe(120);
  expect(pass.result.blocked.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`));
});

it("is settled once the runs of it have ended, those too that began meanwhile", async () => {
  const pass = new Pass({});
  const [first, second] = [deferred(), deferred()];
  pass.work.during(first.promise);
  let isSettled = false;
  const settled = pass.settled().then(() => (isSettled = true));
  pass.work.during(second.promise);
  first.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  expect(isSettled).toBe(false);
  second.resolve();
  await settled;
});
