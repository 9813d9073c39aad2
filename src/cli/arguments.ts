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

export function numberUpTo(max: number): (text: string) => number {
  return (text) => valid(() => wholeNumber("number", Number(text), 1, max), `Give a whole number from 1 to ${max}.`);
}

function valid<T>(parse: () => T, help: string): T {
  try {
    return parse();
  } catch {
    throw new InvalidArgumentError(help);
  }
}
