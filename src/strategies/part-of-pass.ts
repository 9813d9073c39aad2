import type { QueuedCall } from "../store/fetch-stream.js";

/**
 * The first of these calls: what came after the moment by which calls are due is the next pass's, with all that follows of its
 * key.
 *
 * @param dueByMs on the database's clock; undefined where there is no end in sight
 */
export function partOfPass(calls: QueuedCall[], dueByMs: number | undefined): QueuedCall[] {
  if (dueByMs === undefined) return calls;
  const ended = new Set<string>();
  return calls.filter((call) => {
    const name = call.keyName;
    if (call.createdAtMs > dueByMs) ended.add(name);
    return !ended.has(name);
  });
}
