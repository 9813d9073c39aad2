import { describe, expect, it } from "vitest";
import { check, type CommittedOrder, type DeliveryRun, type Findings } from "./check.js";

const ORDERS: CommittedOrder[] = [1, 2, 3].map((place) => ({
  id: `o${place}`,
  lane: "orders/ana",
  place,
  isNotified: place === 1,
}));

/** Of the order in that place: `by` is the process and its fence. */
const run = (place: number, startedAt: number, endedAt: number, more: Partial<DeliveryRun> = {}): DeliveryRun => ({
  ...{ order: `o${place}`, kind: "publish", fence: 1, pid: 1, startedAt, endedAt, succeeded: true, wasFrozen: false },
  ...more,
});
const notified = run(1, 0, 1, { kind: "notify" });
const inOrder = [notified, run(1, 0, 1), run(2, 1, 2), run(3, 2, 3)];

describe("the check of a chaos run", () => {
  const clean: Findings = {
    ...{ runs: 4, failed: 0, repeats: 0, stale: 0, toldOverlaps: 0, unexcused: 0 },
    ...{ lost: [], phantoms: [], inversions: [], overlaps: [], vain: [] },
  };

  it("finds a run in vain in which no order was committed", () => {
    expect(check([], [])).toEqual({ ...clean, runs: 0, vain: ["no order was committed"] });
  });

  it("finds nothing wrong where every call ran once, in order", () => {
    expect(check(ORDERS, inOrder)).toEqual(clean);
  });

  it("does not mind in which order the runs are told", () => {
    expect(check(ORDERS, inOrder.toReversed())).toEqual(clean);
  });

  it("knows a failed run from a repeat", () => {
    const runs = [notified, run(1, 0, 1, { succeeded: false }), run(1, 1, 2), run(2, 2, 3), run(3, 3, 4)];
    expect(check(ORDERS, runs)).toEqual({ ...clean, runs: 5, failed: 1 });
  });

  it("takes calls that were not settled before a death, and run again in order, for repeats", () => {
    const successor = [1, 2, 3].map((place) => run(place, 10 + place, 11 + place, { fence: 2, pid: 2 }));
    const runs = [notified, run(1, 0, 1), run(2, 1, 2), ...successor];
    expect(check(ORDERS, runs)).toEqual({ ...clean, runs: 6, repeats: 2 });
  });

  it.each([
    ["that begins where it may: none", [run(2, 10, 11, { fence: 2 }), run(3, 11, 12, { fence: 2 })], 0],
    ["that leaves one out", [run(1, 10, 11, { fence: 2 }), run(3, 11, 12, { fence: 2 })], 1],
    ["in another order", [run(2, 10, 11, { fence: 2 }), run(1, 11, 12, { fence: 2 }), run(3, 12, 13, { fence: 2 })], 1],
  ])("looks at the order of a repetition %s", (_how, repetition, inversions) => {
    const before = [notified, run(1, 0, 1), run(2, 1, 2)];
    expect(check(ORDERS, [...before, ...repetition]).inversions).toHaveLength(inversions);
  });

  it("finds a call that overtook another", () => {
    const { inversions } = check(ORDERS, [notified, run(2, 0, 1), run(1, 1, 2), run(2, 2, 3), run(3, 3, 4)]);
    expect(inversions).toEqual([expect.stringContaining("orders/ana: o2")]);
  });

  it("finds a call that overtook one that had failed", () => {
    const failed = run(1, 0, 1, { succeeded: false });
    const { inversions } = check(ORDERS, [notified, failed, run(2, 1, 2), run(1, 2, 3), run(2, 3, 4), run(3, 4, 5)]);
    expect(inversions).toHaveLength(1);
  });

  it("finds calls that never succeeded", () => {
    const runs = [run(1, 0, 1), run(2, 1, 2), run(3, 2, 3, { succeeded: false })];
    expect(check(ORDERS, runs).lost).toEqual(["notify o1", "publish o3"]);
  });

  it("finds a run whose order was never committed", () => {
    const { phantoms } = check(ORDERS, [...inOrder, run(4, 9, 10, { pid: 7 }), run(2, 9, 10, { kind: "notify" })]);
    expect(phantoms).toEqual(["publish o4 by 7", "notify o2 by 1"]);
  });

  it("finds two runs at one time under one lease", () => {
    const runs = [notified, run(1, 0, 1), run(2, 1, 3), run(2, 2, 4), run(3, 4, 5)];
    expect(check(ORDERS, runs).overlaps).toHaveLength(1);
    expect(check(ORDERS, [...inOrder, run(1, 0.5, 2, { kind: "notify" })]).overlaps).toHaveLength(1);
  });

  it("counts what a fence tells apart: the run that a frozen process ends, or begins, after a takeover", () => {
    const successor = [run(2, 10, 11, { fence: 2 }), run(3, 11, 12, { fence: 2 })];
    const late = (wasFrozen: boolean) => [run(1, 0, 1), run(2, 1, 20, { wasFrozen }), run(3, 20, 21, { wasFrozen })];
    const findings = { ...clean, runs: 6, repeats: 2, stale: 1, toldOverlaps: 1 };
    expect(check(ORDERS, [notified, ...late(true), ...successor])).toEqual(findings);
    expect(check(ORDERS, [notified, ...late(false), ...successor])).toEqual({ ...findings, unexcused: 2 });
  });
});
