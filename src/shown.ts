import { inspect } from "node:util";

const MAX_LENGTH = 100;

/** A value in an error message: any value at all, on one line, of bounded length. */
export function shown(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(value) : inspect(value, { depth: 0, breakLength: Infinity });
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
}
