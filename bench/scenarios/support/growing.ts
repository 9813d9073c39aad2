import type { ContenderPlan, Scenario, Target } from "../../harness/types.js";

/** A line of the chart: the same, measured at sizes that grow. */
export interface Series {
  name: string;
  sizes: readonly number[];
  planOf(size: number): Pick<ContenderPlan, "file" | "options" | "share" | "engines">;
  /** Of each size, against the smallest. (Default: 1.2) */
  atMost?: number;
}

/** Contenders and targets of series, each size against the smallest of its own. */
export function growing(
  series: readonly Series[],
  metrics: readonly string[],
): Pick<Scenario, "contenders" | "targets"> {
  const contenders: ContenderPlan[] = [];
  const targets: Target[] = [];
  for (const { name, sizes, planOf, atMost = 1.2 } of series) {
    for (const size of sizes)
      contenders.push({ name: nameAt(name, size), role: "ours", at: { series: name, size }, ...planOf(size) });
    const [smallest, ...larger] = sizes;
    for (const metric of metrics) {
      targets.push(
        ...larger.map((size): Target => ({
          contender: nameAt(name, size),
          against: nameAt(name, smallest!),
          metric,
          atMost,
        })),
      );
    }
  }
  return { contenders, targets };
}

export function nameAt(series: string, size: number): string {
  return `${series}, ${size.toLocaleString("en")}`;
}

/** Microseconds a call, from the first claim to the last settle. */
export const COST = { unit: "µs a call", metrics: ["cost"] };

export const BOTH_STRATEGIES = ["keep-order", "publish-on-commit"] as const;
