import type { Knex } from "knex";
import { setTimeout as delay } from "node:timers/promises";
import type { Assistant } from "../../harness/assistant.js";
import type { Metrics } from "../../harness/types.js";
import { watchCommits } from "./commits.js";
import { latencies, sharedNowMs } from "./latency.js";

/** Long enough for the other process to settle, and to wait again. */
const PAUSE_MS = 20;

/** Commits here, each once the one before was run elsewhere; from the commit, as known here, to the function's first line there. */
export async function sampleElsewhere(
  db: Knex,
  calls: number,
  transact: () => Promise<unknown>,
  elsewhere: Assistant<object, { enteredAtMs: number }>,
): Promise<Metrics> {
  const commits = watchCommits(db);
  const [afterCommit, fromCommit]: [number[], number[]] = [[], []];
  for (let n = 0; n < calls; n++) {
    await transact();
    const [committedAtMs, commitSentAtMs] = [sharedNowMs(), commits.sentAtMs];
    const { enteredAtMs } = await elsewhere.next();
    afterCommit.push(enteredAtMs - committedAtMs);
    fromCommit.push(enteredAtMs - commitSentAtMs);
    // Not in step with anybody's timer.
    await delay(PAUSE_MS + Math.random() * PAUSE_MS);
  }
  return { ...latencies(afterCommit), ...latencies(fromCommit, " from COMMIT") };
}
