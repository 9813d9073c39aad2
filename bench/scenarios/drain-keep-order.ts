import type { CarteiroDrainOptions } from "../contenders/carteiro-drain.js";
import type { LimitDrainOptions } from "../contenders/limit-drain.js";
import type { Scenario } from "../harness/types.js";
import { drainPeers, PEERS_NOTE } from "./support/drain-peers.js";

const KEYS = 1000;

export const scenario: Scenario = {
  name: "drain-keep-order",
  title: "Drain keep-order calls of 1,000 ordering keys in one stream, one process",
  unit: "calls/s",
  engines: ["postgresql", "mysql"],
  calls: 100_000,
  contenders: [
    {
      name: "carteiro",
      role: "ours",
      file: "carteiro-drain",
      options: { strategy: "keep-order", keys: KEYS, concurrency: 24 } satisfies CarteiroDrainOptions,
    },
    {
      name: "carteiro, no keys",
      role: "ours",
      file: "carteiro-drain",
      options: { strategy: "keep-order", keys: 0, concurrency: 24 } satisfies CarteiroDrainOptions,
    },
    ...drainPeers,
    {
      name: "the limit",
      role: "limit",
      file: "limit-drain",
      options: { strategy: "keep-order", keys: KEYS } satisfies LimitDrainOptions,
    },
  ],
  targets: [
    { contender: "carteiro", against: "graphile-worker, tuned", atLeast: 2.5 },
    { contender: "carteiro", against: "the limit", atLeast: 0.6 },
    { contender: "carteiro, no keys", against: "the limit" },
  ],
  notes: [
    "Without keys all calls form one lane, which runs them one after the other.",
    PEERS_NOTE,
    "The limit: 500 rows a read, in order; the next are read while the last are deleted. It runs one function after the other.",
    "Peers keep no order here: that is what they are fastest at.",
  ],
  quick: { contenders: ["carteiro", "the limit"], calls: 20_000 },
};
