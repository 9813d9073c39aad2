import type { GraphileWorkerDrainOptions } from "../../contenders/graphile-worker-drain.js";
import type { PgBossDrainOptions } from "../../contenders/pg-boss-drain.js";
import type { ContenderPlan } from "../../harness/types.js";

/** The peers that know PostgreSQL alone, each as fast as its settings allow. */
export const drainPeers: readonly ContenderPlan[] = [
  {
    name: "graphile-worker, tuned",
    role: "peer",
    file: "graphile-worker-drain",
    options: {
      worker: { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 1, failJobBatchDelay: 1 },
    } satisfies GraphileWorkerDrainOptions,
    engines: ["postgresql"],
  },
  {
    name: "graphile-worker, 24 jobs at once",
    role: "peer",
    file: "graphile-worker-drain",
    options: { worker: { concurrentJobs: 24 } } satisfies GraphileWorkerDrainOptions,
    share: 0.2,
    engines: ["postgresql"],
  },
  {
    // Four loops drained more than one or two.
    name: "pg-boss, batches of 500",
    role: "peer",
    file: "pg-boss-drain",
    options: { batchSize: 500, loops: 4 } satisfies PgBossDrainOptions,
    engines: ["postgresql"],
  },
  {
    name: "pg-transactional-outbox, polling",
    role: "peer",
    file: "pg-transactional-outbox-drain",
    // Each of its polls sorts all that waits: more of it is slower still.
    share: 0.02,
    engines: ["postgresql"],
  },
];

export const PEERS_NOTE =
  "graphile-worker, tuned: 24 jobs at once, a local queue of 500, completions collected for 1 ms. pg-boss: four loops of `fetch` and `complete`; its `work` would look for jobs every half second.";
