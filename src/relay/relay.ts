import type { DueStream } from "../store/due-streams.js";
import type { Store } from "../store/store.js";
import type { KeepOrder } from "../strategies/keep-order.js";
import type { PublishOnCommit } from "../strategies/publish-on-commit.js";
import type { RelayOptions, RelayResult } from "../types.js";
import { Pass } from "../run/pass.js";
import type { Keeping } from "../strategies/quiet-time.js";

/** What a relay works with. */
export interface RelayParts {
  store: Pick<Store, "checkSchema" | "readClock" | "dueStreams">;
  publishOnCommit: PublishOnCommit;
  keepOrder: KeepOrder;
  concurrency: number;
}

/** One pass: runs what is due when it begins, and resolves when that is settled. */
export async function relayOnce(
  parts: RelayParts,
  { stream, limit, deadline }: RelayOptions,
  passes: Set<Pass>,
): Promise<RelayResult> {
  const pass = new Pass({ limit, deadline });
  passes.add(pass);
  try {
    await parts.store.checkSchema();
    pass.begin(await parts.store.readClock());
    const due = (await parts.store.dueStreams()).filter((one) => stream === undefined || one.stream === stream);
    const workers = Array.from({ length: parts.concurrency }, async () => {
      for (let next = due.shift(); next && !pass.isOver; next = due.shift()) await relayStream(parts, next, pass);
    });
    const ended = await Promise.allSettled(workers);
    await pass.settled();
    const failed = ended.find((worker) => worker.status === "rejected");
    if (failed) throw failed.reason;
    return pass.result;
  } finally {
    passes.delete(pass);
  }
}

/** @returns whether the stream should be left to others for a while */
export async function relayStream(parts: RelayParts, due: DueStream, pass: Pass, keeping?: Keeping): Promise<boolean> {
  if (due.strategy === "keep-order") return parts.keepOrder.relay(due.stream, pass, keeping);
  await parts.publishOnCommit.relay(due.stream, pass);
  return false;
}
