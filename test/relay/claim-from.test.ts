import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ClaimFrom } from "../../src/strategies/claim-from.js";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => void vi.useRealTimers());

const place = { due: "2026-01-01 00:00:00+00", seq: "7" };

it("goes on where the last claim ended, and is over only when the first call on was looked for in vain", () => {
  const from = new ClaimFrom();
  from.begin();
  from.place = place;
  expect(from.hasAll(10, 10)).toBe(false);
  from.begin();
  expect(from.place).toEqual(place);
  // Nothing more behind that: what came back in front of it is looked for.
  expect(from.hasAll(0, 10)).toBe(false);
  from.begin();
  expect(from.place).toBeUndefined();
  expect(from.hasAll(0, 10)).toBe(true);
});

it("begins at the first call again after a second, however much there is", () => {
  const from = new ClaimFrom();
  from.begin();
  from.place = place;
  vi.advanceTimersByTime(999);
  from.begin();
  expect(from.place).toEqual(place);
  vi.advanceTimersByTime(1);
  from.begin();
  expect(from.place).toBeUndefined();
});
