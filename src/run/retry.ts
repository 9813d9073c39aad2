import { toMilliseconds } from "../duration.js";
import { CrashedError, InvalidOptionError, UnrecoverableError } from "../errors.js";
import { shown } from "../shown.js";
import type { Logger, Retry, RetrySchedule } from "../types.js";

/** A run that failed, as a retry policy sees it. */
export interface Failure {
  error: unknown;
  /** 1 for the first run. */
  attempt: number;
  /** Since the call was due for the first time, or retried by a person. */
  ageMs: number;
}

export interface RetryPolicy {
  /** @returns milliseconds until the next attempt, or `false` where the call is exhausted */
  delayAfter(failure: Failure): number | false;
  /** Between the attempts of an exhausted call that must not be given up. */
  longestDelayMs: number;
}

const DEFAULTS = { initialDelay: 1000, factor: 2, maxDelay: 600_000, jitter: 0.2, giveUpAfter: 7 * 24 * 3_600_000 };
/** 100 years: what every database can add to its clock. */
const LONGEST_DELAY_MS = 100 * 365 * 24 * 3_600_000;
const SCHEDULE_OPTIONS = new Set<string>([...Object.keys(DEFAULTS), "maxAttempts"]);

/** @throws {InvalidOptionError} naming the option */
export function resolveRetry(option: string, retry: Retry, random: () => number = Math.random): RetryPolicy {
  if (typeof retry === "function") return byFunction(option, retry);
  if (retry === null || typeof retry !== "object") {
    throw new InvalidOptionError(
      option,
      "must be a schedule such as {maxAttempts: 10}, or a function of the error and the attempt",
    );
  }
  return bySchedule(option, retry, random);
}

function bySchedule(option: string, schedule: RetrySchedule, random: () => number): RetryPolicy {
  const unknown = Object.keys(schedule).find((name) => !SCHEDULE_OPTIONS.has(name));
  if (unknown !== undefined) {
    throw new InvalidOptionError(
      `${option}.${unknown}`,
      `is unknown; a schedule has ${[...SCHEDULE_OPTIONS].join(", ")}`,
    );
  }
  const { factor = DEFAULTS.factor, jitter = DEFAULTS.jitter, maxAttempts = Infinity } = schedule;
  const initialMs = toMilliseconds(`${option}.initialDelay`, schedule.initialDelay ?? DEFAULTS.initialDelay);
  const maxMs = toMilliseconds(`${option}.maxDelay`, schedule.maxDelay ?? DEFAULTS.maxDelay);
  const giveUpAfterMs = toMilliseconds(`${option}.giveUpAfter`, schedule.giveUpAfter ?? DEFAULTS.giveUpAfter);
  if (!(Number.isFinite(factor) && factor >= 1))
    throw new InvalidOptionError(`${option}.factor`, `is ${shown(factor)}; give a number of at least 1`);
  if (!(Number.isFinite(jitter) && jitter >= 0 && jitter <= 1))
    throw new InvalidOptionError(`${option}.jitter`, `is ${shown(jitter)}; give a share from 0 to 1`);
  if (maxAttempts !== Infinity && !(Number.isInteger(maxAttempts) && maxAttempts >= 1)) {
    throw new InvalidOptionError(
      `${option}.maxAttempts`,
      `is ${shown(maxAttempts)}; give a whole number of at least 1`,
    );
  }
  return {
    longestDelayMs: Math.min(maxMs, LONGEST_DELAY_MS),
    delayAfter({ error, attempt, ageMs }) {
      if (isUnrecoverable(error) || attempt >= maxAttempts || ageMs >= giveUpAfterMs) return false;
      // After many attempts the power is Infinity, which times 0 is no number.
      const delayMs = initialMs === 0 ? 0 : Math.min(initialMs * factor ** (attempt - 1), maxMs);
      return Math.round(delayMs * (1 + jitter * (2 * random() - 1)));
    },
  };
}

function byFunction(option: string, retry: (error: unknown, attempt: number) => number | false): RetryPolicy {
  return {
    longestDelayMs: DEFAULTS.maxDelay,
    delayAfter({ error, attempt }) {
      if (isUnrecoverable(error)) return false;
      const delayMs: unknown = retry(error, attempt);
      if (delayMs === false) return false;
      if (typeof delayMs === "number" && delayMs >= 0 && Number.isFinite(delayMs)) return delayMs;
      // An async policy may reject, too.
      Promise.resolve(delayMs).catch(() => undefined);
      throw new InvalidOptionError(
        option,
        `returned ${shown(delayMs)}; return milliseconds of at least 0, or false to give up`,
      );
    },
  };
}

/** By its code too: an error may come from another copy of this library. */
function isUnrecoverable(error: unknown): boolean {
  try {
    return (
      error instanceof UnrecoverableError ||
      error instanceof CrashedError ||
      (error instanceof Error && (error as { code?: unknown }).code === "CARTEIRO_UNRECOVERABLE")
    );
  } catch {
    // What was thrown may throw itself when it is looked at.
    return false;
  }
}

const FALLBACK = bySchedule("retry", {}, Math.random);

/**
 * What the policy of a function says. Where one of the user's own throws, or answers nonsense, the default one is asked.
 *
 * @returns milliseconds until the next attempt, or `false` where the call is exhausted
 */
export function delayAfter(
  definition: { name: string; retry: RetryPolicy },
  failure: Failure,
  logger: Logger,
): number | false {
  const delayMs = ask(definition, failure, logger);
  return delayMs === false ? false : Math.min(delayMs, LONGEST_DELAY_MS);
}

function ask(definition: { name: string; retry: RetryPolicy }, failure: Failure, logger: Logger): number | false {
  try {
    return definition.retry.delayAfter(failure);
  } catch (fault) {
    logger.error({ err: fault, function: definition.name }, "the retry policy failed; the default one was asked");
    return FALLBACK.delayAfter(failure);
  }
}
