import type { Events } from "./events.js";
import type { Store } from "./store/store.js";
import type { Logger } from "./types.js";

export interface CleanParts {
  store: Pick<Store, "deleteSent" | "countSent">;
  events: Events;
  logger: Logger;
}

/** Deletes sent calls of that age, a small batch at a time, so that no lock is held for long. */
export async function clean(
  { store, events, logger }: CleanParts,
  { olderThanMs, batchSize, dryRun }: { olderThanMs: number; batchSize: number; dryRun: boolean },
): Promise<{ deleted: number }> {
  if (dryRun) return { deleted: await store.countSent(olderThanMs) };
  let deleted = 0;
  for (let batch = batchSize; batch === batchSize; deleted += batch) {
    batch = await store.deleteSent(olderThanMs, batchSize);
  }
  logger.info({ deleted }, "cleaned");
  events.emit("cleaned", { deleted });
  return { deleted };
}
