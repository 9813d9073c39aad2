import type { CarteiroGrowthOptions } from "../contenders/carteiro-growth.js";
import type { LimitDrainOptions } from "../contenders/limit-drain.js";
import type { ContenderPlan, Scenario, Target } from "../harness/types.js";
import { BOTH_STRATEGIES, COST, nameAt } from "./support/growing.js";

const sizesInKiB = [1, 100, 1024];

const contenders: ContenderPlan[] = [];
const targets: Target[] = [];
for (const strategy of BOTH_STRATEGIES) {
  const limit = `the limit, ${strategy}`;
  for (const size of sizesInKiB) {
    const payloadBytes = size * 1024;
    const shared = { share: 1 / size ** 0.4 };
    contenders.push(
      {
        name: nameAt(strategy, size),
        role: "ours",
        file: "carteiro-growth",
        options: { strategy, payloadBytes } satisfies CarteiroGrowthOptions,
        at: { series: strategy, size },
        ...shared,
      },
      {
        name: nameAt(limit, size),
        role: "limit",
        file: "limit-drain",
        options: { strategy, keys: strategy === "keep-order" ? 1000 : 0, payloadBytes } satisfies LimitDrainOptions,
        at: { series: limit, size },
        ...shared,
      },
    );
    targets.push({ contender: nameAt(strategy, size), against: nameAt(limit, size), atMost: 1 / 0.6 });
  }
}

export const scenario: Scenario = {
  name: "grow-payload",
  title: "Growth: drain calls with payloads of 1 KiB, 100 KiB and 1 MiB",
  ...COST,
  growth: "KiB of payload",
  engines: ["postgresql", "mysql"],
  calls: 5000,
  rounds: 3,
  contenders,
  targets,
  notes: [
    "Bytes cost what they cost: a size is compared with the driver, which reads and decodes the same ones by the hundred. The target is that of the drains, 0.6 of its rate.",
  ],
};
