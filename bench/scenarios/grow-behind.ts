import type { CarteiroGrowthOptions } from "../contenders/carteiro-growth.js";
import type { Scenario } from "../harness/types.js";
import { BOTH_STRATEGIES, COST, growing, type Series } from "./support/growing.js";

const series = BOTH_STRATEGIES.map((strategy): Series => ({
  name: strategy,
  sizes: [10_000, 1_000_000, 10_000_000],
  planOf: (count) => ({
    file: "carteiro-growth",
    options: { strategy, beside: { kind: "behind", count } } satisfies CarteiroGrowthOptions,
  }),
}));

export const scenario: Scenario = {
  name: "grow-behind",
  title: "Growth: drain calls with more calls of the same stream behind them",
  ...COST,
  growth: "calls behind",
  engines: ["postgresql", "mysql"],
  calls: 50_000,
  rounds: 3,
  ...growing(series, COST.metrics),
  notes: ["The tables are filled once; before each round what the last one drained is put back, behind the others."],
};
