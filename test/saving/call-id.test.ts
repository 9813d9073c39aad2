import { afterEach, expect, it, vi } from "vitest";
import { newCallId } from "../../src/call-id.js";

afterEach(() => void vi.useRealTimers());

const timeOf = (id: string) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

it("is a UUIDv7 of this millisecond", () => {
  vi.useFakeTimers({ now: Date.UTC(2100, 0, 1) });
  const id = newCallId();
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(timeOf(id)).toBe(Date.UTC(2100, 0, 1));
});

it("rises with each call, however many are made in a millisecond", () => {
  vi.useFakeTimers({ now: Date.UTC(2101, 0, 1) });
  const ids = Array.from({ length: 10_000 }, newCallId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.toSorted()).toEqual(ids);
});

it("rises while the clock goes back", () => {
  vi.useFakeTimers({ now: Date.UTC(2102, 0, 1) });
  const before = newCallId();
  vi.setSystemTime(Date.UTC(2001, 0, 1));
  expect(newCallId() > before).toBe(true);
});

it("is another one in each process, also at one time", () => {
  vi.useFakeTimers({ now: Date.UTC(2103, 0, 1) });
  const random = (id: string) => id.slice(19);
  expect(random(newCallId())).not.toBe(random(newCallId()));
});
