import type { Scenario } from "../harness/types.js";

const [ours, bare] = ["carteiro", "a bare claim"];

export const scenario: Scenario = {
  name: "commit-to-run",
  title: "Commit to run: an idle system, publish-on-commit, in the process that committed",
  unit: "ms",
  metrics: ["p50", "p99", "p50 from COMMIT", "p99 from COMMIT"],
  calls: 200,
  contenders: [
    { name: ours, role: "ours", file: "carteiro-commit-to-run" },
    { name: bare, role: "limit", file: "bare-claim" },
  ],
  targets: [
    { contender: ours, against: bare, metric: "p50", atMost: 2 },
    { contender: ours, against: bare, metric: "p99", atMost: 2 },
    { contender: ours, against: bare, metric: "p50 from COMMIT" },
    { contender: ours, against: bare, metric: "p99 from COMMIT" },
  ],
  notes: [
    "p50 and p99 of 200 samples a round, from when the transaction's promise resolved, and from when COMMIT was sent, to the first line of the function, or the answer to the claim.",
  ],
};
