import type { CarteiroGrowthOptions } from "../contenders/carteiro-growth.js";
import type { ContenderPlan, Scenario, Target } from "../harness/types.js";
import { BOTH_STRATEGIES, COST, nameAt } from "./support/growing.js";

const MOST = 400_000;
const sizes = [10_000, 100_000, MOST];

const contenders: ContenderPlan[] = [];
const targets: Target[] = [];
for (const strategy of BOTH_STRATEGIES) {
  const [alone, beside] = [strategy, `${strategy}, a transaction open`] as const;
  for (const size of sizes) {
    for (const series of [alone, beside]) {
      contenders.push({
        name: nameAt(series, size),
        role: "ours",
        file: "carteiro-growth",
        options: { strategy, isHeldOpen: series === beside } satisfies CarteiroGrowthOptions,
        share: size / MOST,
        at: { series, size },
      });
    }
    targets.push({ contender: nameAt(beside, size), against: nameAt(alone, size), atMost: 2 });
  }
}

export const scenario: Scenario = {
  name: "grow-held-open",
  title: "Growth: drain calls while a transaction stays open that has read the tables before",
  ...COST,
  growth: "calls drained",
  engines: ["postgresql", "mysql"],
  calls: MOST,
  rounds: 1,
  warmsUp: false,
  contenders,
  targets,
  notes: [
    "What was drained cannot be cleared away meanwhile. One long round, in fresh processes: few calls also pay for the start.",
  ],
};
