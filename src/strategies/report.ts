import type { Events } from "../events.js";
import type { Outcome } from "../run/run.js";
import type { Logger, RunSource } from "../types.js";

/** Tells the listeners and the log how a run ended, once that is settled: one line per outcome, never the arguments. */
export function reportOutcome(
  { events, logger }: { events: Events; logger: Logger },
  { call, attempt, durationMs, result }: Outcome,
  source: RunSource,
  nextAttemptAt: Date | undefined,
  isDead: boolean,
): void {
  const fields = {
    callId: call.id,
    function: call.function,
    stream: call.stream,
    attempt,
    durationMs: Math.round(durationMs),
    source,
  };
  if (result.kind === "succeeded") {
    logger.info(fields, "published");
    events.emit("published", { call, source, attempt, durationMs });
    return;
  }
  const { error } = result;
  if (result.isAbandoned) events.emit("abandoned", { call, attempt, durationMs });
  logger[isDead ? "error" : "warn"]({ ...fields, err: error, nextAttemptAt }, isDead ? "dead" : "failed");
  events.emit("failed", { call, source, attempt, durationMs, error, ...(nextAttemptAt ? { nextAttemptAt } : {}) });
  if (isDead) events.emit("dead", { call, source, attempt, error });
}
