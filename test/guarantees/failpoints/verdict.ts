import type { Strategy } from "../../../src/index.js";
import { checkHistory, type Faults } from "../history.js";
import type { Victim } from "./cohort.js";
import type { Aftermath } from "./survivor.js";

/** What a death did that it must not; all empty where the guarantees held. */
export interface Verdict extends Pick<Faults, "inversions" | "overlaps"> {
  /** Committed orders that were never delivered. */
  lost: string[];
  /** Calls that were stored, or run, without their order. */
  phantoms: string[];
  /** Orders that were delivered again although nobody had to: their delivery was settled. */
  needless: string[];
  uncleaned: string[];
}

export const INNOCENT: Verdict = { lost: [], phantoms: [], needless: [], uncleaned: [], inversions: [], overlaps: [] };

export function judge(
  strategy: Strategy,
  victim: Victim,
  { orders, left, sent, uncleaned, before, after }: Aftermath,
): Verdict {
  const runs = [...before, ...victim.runs, ...after];
  const ids = new Set(orders.map(({ id }) => id));
  const delivered = new Set(runs.filter(({ succeeded }) => succeeded).map(({ order }) => order));
  const mayRun = new Set(left);
  const settled = new Set([...sent, ...victim.published]);
  return {
    lost: [...ids].filter((id) => !delivered.has(id)),
    phantoms: [...new Set([...left, ...sent, ...runs.map(({ order }) => order)])].filter((id) => !ids.has(id)),
    needless: after.map(({ order }) => order).filter((order) => settled.has(order) || !mayRun.has(order)),
    uncleaned,
    ...(strategy === "keep-order" ? orderFaults(runs, orders) : { inversions: [], overlaps: [] }),
  };
}

function orderFaults(runs: Aftermath["after"], orders: Aftermath["orders"]) {
  const placeOf = new Map(orders.map((order) => [order.id, order]));
  const history = runs.flatMap(({ order, ...run }) => {
    const { key, place } = placeOf.get(order) ?? {};
    return key === undefined || place === undefined ? [] : [{ ...run, key, place }];
  });
  const committed = new Map<string, number>();
  for (const { key } of orders) committed.set(key, (committed.get(key) ?? 0) + 1);
  const { inversions, overlaps } = checkHistory(history, committed);
  return { inversions, overlaps };
}
