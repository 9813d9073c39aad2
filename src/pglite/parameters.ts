import { isDate } from "node:util/types";

/** A parameter as the protocol carries it: text, bytes (sent in binary format), or NULL. */
export type WireValue = string | Uint8Array | null;

/**
 * A binding of JavaScript as PostgreSQL reads it, by node-postgres's rules: a Date in local time with its offset (so that
 * `date` and `timestamp` columns get the local one), an array as an array literal, any other object as JSON unless it
 * has a `toPostgres` method.
 *
 * @throws TypeError for an invalid Date, an object that JSON refuses, and a `toPostgres` that returns itself
 */
export function toWireValue(value: unknown): WireValue {
  return convert(value, []);
}

function convert(value: unknown, converting: object[]): WireValue {
  if (value === null || value === undefined) return null;
  if (typeof value !== "object") return (value as string | number | boolean | bigint).toString();
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (isDate(value)) return dateText(value);
  if (Array.isArray(value)) return arrayText(value);
  if (hasToPostgres(value)) {
    if (converting.includes(value)) throw new TypeError("A binding's toPostgres() returned the object itself.");
    return convert(value.toPostgres(toWireValue), [...converting, value]);
  }
  const json: unknown = JSON.stringify(value);
  return typeof json === "string" ? json : null;
}

function arrayText(values: readonly unknown[]): string {
  return `{${values.map(elementText).join(",")}}`;
}

function elementText(value: unknown): string {
  if (Array.isArray(value)) return arrayText(value);
  const element = toWireValue(value);
  if (element === null) return "NULL";
  if (typeof element !== "string") return `"\\\\x${Buffer.from(element).toString("hex")}"`;
  return `"${element.replace(/["\\]/g, "\\$&")}"`;
}

const minuteMs = 60_000;

function dateText(date: Date): string {
  if (Number.isNaN(date.getTime())) throw new TypeError("A binding is an invalid Date.");
  const offset = -Math.round(date.getTimezoneOffset());
  const local = new Date(date.getTime() + offset * minuteMs);
  const year = local.getUTCFullYear();
  // PostgreSQL knows no year 0 and no negative ones: 1 BC comes before 1 AD.
  const yearText = String(year < 1 ? 1 - year : year).padStart(4, "0");
  const afterYear = local.toISOString().slice(-"-01-01T00:00:00.000Z".length, -1);
  const hours = String(Math.trunc(Math.abs(offset) / 60)).padStart(2, "0");
  const minutes = String(Math.abs(offset) % 60).padStart(2, "0");
  return `${yearText}${afterYear}${offset < 0 ? "-" : "+"}${hours}:${minutes}${year < 1 ? " BC" : ""}`;
}

interface ToPostgres {
  toPostgres(prepare: (value: unknown) => WireValue): unknown;
}

function hasToPostgres(value: object): value is ToPostgres {
  return "toPostgres" in value && typeof value.toPostgres === "function";
}
