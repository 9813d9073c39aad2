import type { CarteiroGrowthOptions } from "../contenders/carteiro-growth.js";
import type { Scenario } from "../harness/types.js";
import { BOTH_STRATEGIES, growing, nameAt, type Series } from "./support/growing.js";

const MOST_MIB = 200;
const MOST_CALLS = 1_000_000;
const METRICS = ["peak"];

const series = BOTH_STRATEGIES.flatMap((strategy): Series[] => [
  {
    name: `${strategy}, small`,
    sizes: [10_000, 100_000, MOST_CALLS],
    planOf: (size) => ({
      file: "carteiro-growth",
      options: { strategy } satisfies CarteiroGrowthOptions,
      share: size / MOST_CALLS,
    }),
  },
  {
    name: `${strategy}, of 1 MiB`,
    sizes: [200, 2000],
    planOf: (size) => ({
      file: "carteiro-growth",
      options: { strategy, payloadBytes: 1024 * 1024 } satisfies CarteiroGrowthOptions,
      share: size / MOST_CALLS,
    }),
  },
]);

export const scenario: Scenario = {
  name: "grow-memory",
  title: "Growth: the most memory that the process had while it drained",
  unit: "MiB of RSS",
  metrics: METRICS,
  growth: "calls drained",
  engines: ["postgresql", "mysql"],
  calls: MOST_CALLS,
  rounds: 1,
  warmsUp: false,
  contenders: growing(series, METRICS).contenders,
  targets: series.flatMap(({ name, sizes }) =>
    sizes.map((size) => ({ contender: nameAt(name, size), metric: "peak", atMost: MOST_MIB })),
  ),
  notes: [
    "One drain in a fresh process each. A process that only opens an outbox has the figure of an empty drain in it.",
  ],
};
