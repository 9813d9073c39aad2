import type { CarteiroProcessesOptions } from "../contenders/carteiro-processes.js";
import type { ContenderPlan, Scenario } from "../harness/types.js";

const plans = [1, 2, 4].map((processes): ContenderPlan => ({
  name: nameOf(processes),
  role: "ours",
  file: "carteiro-processes",
  options: { processes, concurrency: 16, functionMs: 5 } satisfies CarteiroProcessesOptions,
}));

export const scenario: Scenario = {
  name: "processes",
  title: "Drain by 1, 2 and 4 relay processes, publish-on-commit functions of 5 ms, 16 at once in each",
  unit: "calls/s",
  calls: 20_000,
  contenders: plans,
  targets: [2, 4].map((processes) => ({ contender: nameOf(processes), against: nameOf(1) })),
  notes: ["A process alone can run 3,200 such functions a second; near n × until the cores are full."],
};

function nameOf(processes: number): string {
  return processes === 1 ? "1 process" : `${processes} processes`;
}
