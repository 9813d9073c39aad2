import type { CarteiroDrainOptions } from "../contenders/carteiro-drain.js";
import type { LimitDrainOptions } from "../contenders/limit-drain.js";
import type { Scenario } from "../harness/types.js";
import { drainPeers, PEERS_NOTE } from "./support/drain-peers.js";

export const scenario: Scenario = {
  name: "drain-publish-on-commit",
  title: "Drain publish-on-commit calls, one process",
  unit: "calls/s",
  engines: ["postgresql", "mysql"],
  calls: 100_000,
  contenders: [
    {
      name: "carteiro",
      role: "ours",
      file: "carteiro-drain",
      options: { strategy: "publish-on-commit", keys: 0, concurrency: 24 } satisfies CarteiroDrainOptions,
    },
    ...drainPeers,
    {
      name: "the limit",
      role: "limit",
      file: "limit-drain",
      options: { strategy: "publish-on-commit", keys: 0 } satisfies LimitDrainOptions,
    },
  ],
  targets: [
    { contender: "carteiro", against: "graphile-worker, tuned", atLeast: 1.5 },
    { contender: "carteiro", against: "the limit", atLeast: 0.7, engines: ["postgresql"] },
    { contender: "carteiro", against: "the limit", atLeast: 0.6, engines: ["mysql"] },
  ],
  notes: [
    PEERS_NOTE,
    "The limit: 500 rows a claim; the next are claimed while the last are deleted. It runs one function after the other.",
  ],
  quick: { contenders: ["carteiro", "the limit"], calls: 20_000 },
};
