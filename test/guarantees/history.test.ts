import { describe, expect, it } from "vitest";
import { checkHistory, NO_FAULTS, type Run } from "./history.js";

describe("the history checker", () => {
  const run = (place: number, startedAt: number, endedAt: number, succeeded = true): Run => ({
    key: "k",
    place,
    startedAt,
    endedAt,
    succeeded,
  });

  it.each([
    ["nothing", [run(1, 0, 1), run(2, 1, 2, false), run(2, 2, 3), run(3, 3, 4)], {}],
    [
      "an inversion",
      [run(2, 0, 1, false), run(1, 1, 2), run(2, 2, 3), run(3, 3, 4)],
      { inversions: ["k/2 before k/1"] },
    ],
    ["an overlap", [run(1, 0, 3), run(2, 2, 4), run(3, 4, 5)], { overlaps: ["k/2"] }],
    ["a lost call", [run(1, 0, 1), run(2, 1, 2)], { lost: ["k/3"] }],
    ["a phantom", [run(1, 0, 1), run(2, 1, 2), run(3, 2, 3), run(4, 3, 4)], { phantoms: ["k/4"] }],
    ["a repeat", [run(1, 0, 1), run(1, 1, 2), run(2, 2, 3), run(3, 3, 4)], { repeats: ["k/1"] }],
  ])("finds %s", (_name, runs, faults) => {
    expect(checkHistory(runs, new Map([["k", 3]]))).toEqual({ ...NO_FAULTS, ...faults });
  });
});
