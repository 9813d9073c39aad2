import { validateCronExpression } from "cron";
import { InvalidArgumentError } from "commander";
import { MAX_TIMER_MS, toMilliseconds } from "../duration.js";
import { wholeNumber } from "../checks.js";

/** Parsers of option values. Each throws an InvalidArgumentError, which ends the command as wrong use. */

const DURATION = 'Give a text such as "100ms", "30s" or "7d".';

/** @returns milliseconds */
export function duration(text: string): number {
  return valid(() => toMilliseconds("duration", text), DURATION);
}

/** @returns milliseconds that a timer of Node.js can wait */
export function interval(text: string): number {
  const milliseconds = valid(() => toMilliseconds("interval", text, 1), DURATION);
  if (milliseconds > MAX_TIMER_MS) throw new InvalidArgumentError("The longest interval is 24 days.");
  return milliseconds;
}

export function cronExpression(text: string): string {
  const { valid: isValid, error } = validateCronExpression(text);
  if (!isValid) throw new InvalidArgumentError(`${error?.message ?? "It is no cron expression"}.`);
  return text;
}

export function numberUpTo(max: number, min = 1): (text: string) => number {
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  // Number("") is 0.
  const parse = (text: string) => wholeNumber("number", text.trim() === "" ? NaN : Number(text), min, max);
  return (text) => valid(() => parse(text), `Give a whole number ${range}.`);
}

function valid<T>(parse: () => T, help: string): T {
  try {
    return parse();
  } catch {
    throw new InvalidArgumentError(help);
  }
}
