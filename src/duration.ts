import ms, { type StringValue } from "ms";
import { InvalidOptionError } from "./errors.js";
import { shown } from "./shown.js";
import type { Duration } from "./types.js";

/** 2^31 - 1 ms, about 24.8 days: a longer timer fires at once in Node.js. */
export const MAX_TIMER_MS = 2_147_483_647;

/** @throws {InvalidOptionError} naming `option`, unless `value` is a finite number of milliseconds of at least `min`, or a text for one */
export function toMilliseconds(option: string, value: Duration, min = 0): number {
  const parsed = typeof value === "string" ? parse(value) : value;
  if (typeof parsed !== "number" || !Number.isFinite(parsed) || parsed < min) {
    throw new InvalidOptionError(
      option,
      `is ${shown(value)}; give milliseconds of at least ${min}, or a text such as "100ms", "30s" or "7d"`,
    );
  }
  return parsed;
}

function parse(text: string): number | undefined {
  return text.length > 0 && text.length <= 100 ? ms(text as StringValue) : undefined;
}
