import { MAX_TIMER_MS, toMilliseconds } from "./duration.js";
import { InvalidOptionError } from "./errors.js";
import { shown } from "./shown.js";
import type { Duration } from "./types.js";

const MAX_AGE_MS = 1000 * 365 * 24 * 3_600_000;

/** Names are stored, compared and indexed as they are: the databases disagree about white space at their ends. */
export function identifier(option: string, value: unknown): string {
  if (typeof value === "string" && /^[^\s\p{Cc}\p{Cs}]([^\p{Cc}\p{Cs}]{0,198}[^\s\p{Cc}\p{Cs}])?$/u.test(value))
    return value;
  throw new InvalidOptionError(
    option,
    `is ${shown(value)}; use 1 to 200 characters, without control characters or white space at the ends`,
  );
}

export function wholeNumber(option: string, value: unknown, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  throw new InvalidOptionError(option, `is ${shown(value)}; give a whole number ${range}`);
}

/** @throws {InvalidOptionError} unless it is a plain object, such as `{}`: what else holds would be left out silently */
export function plainObject(option: string, value: unknown, kind: string): void {
  const prototype: unknown = typeof value === "object" && value !== null ? Object.getPrototypeOf(value) : undefined;
  if (prototype === null || prototype === Object.prototype) return;
  throw new InvalidOptionError(option, `is ${shown(value)}; give ${kind}`);
}

/** @throws {InvalidOptionError} for the first option that is not among the known ones */
export function refuseUnknown(what: string, options: object, known: Readonly<Record<string, true>>): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new InvalidOptionError(what, `was given ${shown(options)} instead of an object of options`);
  }
  const unknown = Object.keys(options).find((option) => !Object.hasOwn(known, option));
  if (unknown !== undefined) {
    throw new InvalidOptionError(unknown, `is no option of ${what}; it knows ${Object.keys(known).join(", ")}`);
  }
}

/** Of a call: 1000 years at most, which every database can take off its clock. */
export function age(option: string, value: Duration): number {
  const milliseconds = toMilliseconds(option, value);
  if (milliseconds <= MAX_AGE_MS) return milliseconds;
  throw new InvalidOptionError(option, `is ${shown(value)}; give 1000 years at most`);
}

export function timer(option: string, value: Duration, min = 1): number {
  const milliseconds = toMilliseconds(option, value, min);
  if (milliseconds > MAX_TIMER_MS)
    throw new InvalidOptionError(option, `is ${shown(value)}; the longest timer is 24 days`);
  return milliseconds;
}

export function oneOf<T extends string>(option: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value;
  throw new InvalidOptionError(option, `is ${shown(value)}; use ${allowed.map((one) => `"${one}"`).join(" or ")}`);
}

export function flag(option: string, value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new InvalidOptionError(option, `is ${shown(value)}; use true or false`);
}
