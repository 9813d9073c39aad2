import type { CarteiroIdleOptions } from "../contenders/carteiro-idle.js";
import type { Scenario } from "../harness/types.js";
import { growing } from "./support/growing.js";

const METRICS = ["statements", "ms of CPU"];

export const scenario: Scenario = {
  name: "grow-idle",
  title: "Growth: a relayer at rest, with streams that have had calls, half of each strategy",
  unit: "a minute",
  metrics: METRICS,
  growth: "streams",
  engines: ["postgresql", "mysql"],
  roundMs: 20_000,
  rounds: 1,
  warmsUp: false,
  ...growing(
    [
      {
        name: "a relayer",
        sizes: [1, 10, 100],
        planOf: (streams) => ({ file: "carteiro-idle", options: { streams } satisfies CarteiroIdleOptions }),
      },
    ],
    METRICS,
  ),
  notes: ["Statements as the server counts them, on MariaDB those that ask for the count among them."],
};
