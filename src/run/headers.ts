import type { Headers } from "../types.js";

const NO_HEADERS: Headers = Object.freeze({});

/** @returns undefined where the text is not what is stored for headers: somebody has edited the table */
export function parseHeaders(text: string): Headers | undefined {
  if (text === "{}") return NO_HEADERS;
  try {
    const headers: unknown = JSON.parse(text);
    const isObject = typeof headers === "object" && headers !== null && !Array.isArray(headers);
    return isObject && Object.values(headers).every((value) => typeof value === "string")
      ? (headers as Headers)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Empty where they cannot be read: a run of their call fails. */
export function headersOf(text: string): Headers {
  return parseHeaders(text) ?? NO_HEADERS;
}
