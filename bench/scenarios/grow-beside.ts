import type { CarteiroGrowthOptions } from "../contenders/carteiro-growth.js";
import type { Surroundings } from "../contenders/support/surroundings.js";
import type { Scenario } from "../harness/types.js";
import { BOTH_STRATEGIES, COST, growing, type Series } from "./support/growing.js";

const most: Record<Exclude<Surroundings["kind"], "behind">, number> = {
  "other stream": 1_000_000,
  sent: 1_000_000,
  dead: 100_000,
  streams: 10_000,
};

const series = Object.entries(most).flatMap(([kind, count]) =>
  BOTH_STRATEGIES.map((strategy): Series => ({
    name: `${strategy}, ${kind}`,
    sizes: [count / 1000, count],
    planOf: (size) => ({
      file: "carteiro-growth",
      options: {
        strategy,
        beside: { kind: kind as Surroundings["kind"], count: size },
      } satisfies CarteiroGrowthOptions,
    }),
  })),
);

export const scenario: Scenario = {
  name: "grow-beside",
  title: "Growth: drain calls beside those of another stream, sent ones, dead ones, other streams",
  ...COST,
  growth: "calls, or streams, beside",
  engines: ["postgresql", "mysql"],
  calls: 20_000,
  ...growing(series, COST.metrics),
  notes: ["Of the other streams each has ten calls that are due tomorrow."],
};
