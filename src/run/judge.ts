import type { FunctionDefinition } from "../registry.js";
import type { StoredCall } from "../store/stored-call.js";
import type { Logger } from "../types.js";
import { errorText } from "./error-text.js";
import { delayAfter } from "./retry.js";
import type { Outcome } from "./run.js";

/** What follows from a run that failed. */
export interface Judgement {
  /** As it is stored. */
  error: string;
  /** Until the next attempt; `false` where the call is exhausted. */
  delayMs: number | false;
}

/** Asks the function's retry policy. */
export function judge(
  call: Pick<StoredCall, "ageMs">,
  definition: FunctionDefinition,
  { attempt, durationMs }: Outcome,
  error: unknown,
  logger: Logger,
): Judgement {
  const failure = { error, attempt, ageMs: call.ageMs + durationMs };
  return { error: errorText(error), delayMs: delayAfter(definition, failure, logger) };
}
