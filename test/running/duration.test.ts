import { expect, it } from "vitest";
import { toMilliseconds } from "../../src/duration.js";
import { InvalidOptionError } from "../../src/index.js";

it.each([
  [0, 0],
  [1.5, 1.5],
  ["100ms", 100],
  ["30s", 30_000],
  ["2 min", 120_000],
  ["1h", 3_600_000],
  ["7d", 604_800_000],
  ["250", 250],
])("%o is %d ms", (duration, milliseconds) => {
  expect(toMilliseconds("lease", duration)).toBe(milliseconds);
});

it.each([-1, NaN, Infinity, "", "soon", "5 fortnights", "-1s", "1".repeat(101), null, undefined, {}, new Date()])(
  "%o is refused by the option's name",
  (duration) => {
    expect(() => toMilliseconds("lease", duration as string)).toThrow(
      expect.objectContaining({ constructor: InvalidOptionError, option: "lease" }),
    );
  },
);

it("refuses less than the least", () => {
  expect(toMilliseconds("lease", 100, 100)).toBe(100);
  expect(() => toMilliseconds("lease", "99ms", 100)).toThrow("milliseconds of at least 100");
});
