import type { Events } from "../events.js";
import type { Outcome } from "../run/run.js";
import type { Logger, RunSource } from "../types.js";

/** Tells the listeners and the log how a run ended, once that is settled: one line per outcome, never the arguments. */
export function reportOutcome(
  { events, logger }: { events: Events; logger: Logger },
  outcome: Outcome,
  source: RunSource,
  nextAttemptAt: Date | undefined,
  isDead: boolean,
): void {
  const { result } = outcome;
  if (result.kind === "succeeded") {
    if (logger.isLevelEnabled?.("info") ?? true) logger.info(fieldsOf(outcome, source), "published");
    if (!events.has("published")) return;
    const { call, attempt, durationMs } = outcome;
    events.emit("published", { call, source, attempt, durationMs });
    return;
  }
  const { call, attempt, durationMs } = outcome;
  const { error } = result;
  if (result.isAbandoned) events.emit("abandoned", { call, attempt, durationMs });
  const fields = { ...fieldsOf(outcome, source), err: error, nextAttemptAt };
  logger[isDead ? "error" : "warn"](fields, isDead ? "dead" : "failed");
  events.emit("failed", { call, source, attempt, durationMs, error, ...(nextAttemptAt ? { nextAttemptAt } : {}) });
  if (isDead) events.emit("dead", { call, source, attempt, error });
}

function fieldsOf({ call, attempt, durationMs }: Outcome, source: RunSource) {
  const { id: callId, function: name, stream } = call;
  return { callId, function: name, stream, attempt, durationMs: Math.round(durationMs), source };
}
