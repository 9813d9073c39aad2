import type { Knex } from "knex";
import { sharedNowMs } from "./latency.js";

/** When knex last sent a COMMIT. */
export function watchCommits(db: Knex): { sentAtMs: number } {
  const watched = { sentAtMs: 0 };
  db.on("query", ({ sql }: { sql: string }) => {
    if (/^commit/i.test(sql)) watched.sentAtMs = sharedNowMs();
  });
  return watched;
}
