import type { Scenario } from "../harness/types.js";

const [ours, graphile] = ["carteiro", "graphile-worker"];

export const scenario: Scenario = {
  name: "commit-to-run-elsewhere",
  title: "Commit to run: an idle system, keep-order, in another process",
  unit: "ms",
  metrics: ["p50", "p99", "p50 from COMMIT", "p99 from COMMIT"],
  calls: 100,
  contenders: [
    { name: ours, role: "ours", file: "carteiro-commit-elsewhere" },
    { name: graphile, role: "peer", file: "graphile-worker-commit-elsewhere" },
  ],
  targets: [
    { contender: ours, against: graphile, metric: "p50", atMost: 1 },
    { contender: ours, against: graphile, metric: "p99", atMost: 1 },
    { contender: ours, against: graphile, metric: "p50 from COMMIT" },
    { contender: ours, against: graphile, metric: "p99 from COMMIT" },
  ],
  notes: [
    "p50 and p99 of 100 samples a round, from when the transaction's promise resolved here, and from when COMMIT was sent, to the function's first line there. Both are at their default settings.",
  ],
};
