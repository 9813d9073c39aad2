import { CrashedError } from "../errors.js";
import type { Events } from "../events.js";
import type { FunctionDefinition } from "../registry.js";
import { errorText } from "../run/error-text.js";
import { judge } from "../run/judge.js";
import type { Pass } from "../run/pass.js";
import type { Outcome } from "../run/run.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import type { Due, StreamSettlement } from "../store/serve-stream.js";
import type { Logger } from "../types.js";
import { reportOutcome } from "./report.js";

/** What follows for a key from what became of its head. */
export interface Conclusion {
  settlement: StreamSettlement;
  /** Is called once that is written down. */
  report?: () => void;
  /** Whether the next call of the key may follow. */
  goesOn: boolean;
}

export interface ConclusionParts {
  events: Events;
  logger: Logger;
  pass: Pass;
  pollIntervalMs: number;
}

export function afterRun(
  parts: ConclusionParts,
  call: QueuedCall,
  definition: FunctionDefinition,
  outcome: Outcome,
): Conclusion {
  if (outcome.result.kind === "succeeded") return sent(parts, call, definition, outcome);
  const { error } = outcome.result;
  const { delayMs, error: text } = judge(call, definition, outcome, error, parts.logger);
  if (delayMs === false) return exhausted(parts, call, definition, outcome, error);
  return blocked(parts, call, outcome, error, { inMs: delayMs }, text);
}

/** The next call follows at once; the settlements of many go together. */
function sent(
  parts: ConclusionParts,
  { seq }: QueuedCall,
  definition: FunctionDefinition,
  outcome: Outcome,
): Conclusion {
  return {
    settlement: { kind: definition.deleteAfterSend ? "delete" : "mark-sent", seq },
    goesOn: true,
    report: () => reportSent(parts, outcome),
  };
}

export function reportSent(parts: ConclusionParts, outcome: Outcome): void {
  parts.pass.count("published");
  reportOutcome(parts, outcome, "relay", undefined, false);
}

/** The head is not to be tried again, by its retry policy or since it has ended its process too often. */
export function exhausted(
  parts: ConclusionParts,
  call: QueuedCall,
  { onExhausted, retry }: FunctionDefinition,
  outcome: Outcome,
  error: unknown,
): Conclusion {
  const text = errorText(error);
  if (onExhausted === "skip") return skipped(parts, call, outcome, text);
  if (onExhausted === "park") return parked(parts, call, outcome, error, text);
  const due = error instanceof CrashedError ? "never" : { inMs: retry.longestDelayMs };
  return blocked(parts, call, outcome, error, due, text);
}

/** Its key waits behind it. */
function blocked(
  parts: ConclusionParts,
  call: QueuedCall,
  outcome: Outcome,
  error: unknown,
  due: Extract<Due, "never" | { inMs: number }>,
  text: string,
): Conclusion {
  const head = { seq: call.seq, attempts: outcome.attempt, error: text };
  return {
    settlement: { kind: "hold", state: "blocked", due, head },
    goesOn: false,
    report() {
      const nextAttemptAt = due === "never" ? undefined : new Date(Date.now() + call.clockOffsetMs + due.inMs);
      reportHeld(parts, outcome, nextAttemptAt);
      if (!nextAttemptAt) tellPerson(parts, outcome, "blocked until a person retries or skips it");
      parts.events.emit("blocked", { call: outcome.call, error, ...(nextAttemptAt ? { nextAttemptAt } : {}) });
    },
  };
}

function parked(
  parts: ConclusionParts,
  { seq }: QueuedCall,
  outcome: Outcome,
  error: unknown,
  text: string,
): Conclusion {
  const head = { seq, attempts: outcome.attempt, error: text };
  return {
    settlement: { kind: "hold", state: "parked", due: { inMs: 0 }, head },
    goesOn: false,
    report() {
      reportHeld(parts, outcome, undefined);
      tellPerson(parts, outcome, "parked until a person resumes its key");
      parts.events.emit("parked", { call: outcome.call, error });
    },
  };
}

function reportHeld(parts: ConclusionParts, outcome: Outcome, nextAttemptAt: Date | undefined): void {
  const { id, stream, orderingKey } = outcome.call;
  parts.pass.count("failed");
  parts.pass.countBlocked({ id, stream, ...(orderingKey === undefined ? {} : { orderingKey }) });
  reportOutcome(parts, outcome, "relay", nextAttemptAt, false);
}

function tellPerson({ logger }: ConclusionParts, { call }: Outcome, message: string): void {
  const { id: callId, function: name, stream, orderingKey } = call;
  logger.error({ callId, function: name, stream, orderingKey }, message);
}

/** It goes dead, and the next call follows. */
function skipped(parts: ConclusionParts, { seq }: QueuedCall, outcome: Outcome, text: string): Conclusion {
  return {
    settlement: { kind: "dead", seq, attempts: outcome.attempt, error: text },
    goesOn: true,
    report() {
      parts.pass.count("dead");
      reportOutcome(parts, outcome, "relay", undefined, true);
    },
  };
}

/** A head that was delayed, or waits for its next attempt. */
export function notDue(call: QueuedCall): Conclusion {
  const state = call.attempts > 0 ? "blocked" : "waiting";
  return { settlement: { kind: "hold", state, due: "when-head-is-due", head: call }, goesOn: false };
}

/** Not run, not counted, not dropped: another process may know the function, and shall have the stream. */
export function unroutable(parts: ConclusionParts, call: QueuedCall, isSuspect: boolean): Conclusion {
  const { events, logger, pass, pollIntervalMs } = parts;
  const { seq, attempts, id, functionName, stream, strategy } = call;
  const head = { seq, attempts, isSuspect };
  return {
    settlement: { kind: "hold", state: "unroutable", due: { inMs: pollIntervalMs }, head },
    goesOn: false,
    report() {
      pass.count("unroutable");
      logger.warn(
        { callId: id, function: functionName, stream },
        "unroutable: this process does not know the function",
      );
      events.emit("unroutable", { id, function: functionName, stream, strategy });
    },
  };
}
