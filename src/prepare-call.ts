import { newCallId } from "./call-id.js";
import { encodeArguments } from "./codec.js";
import { toMilliseconds } from "./duration.js";
import { InvalidOptionError, PayloadTooLargeError, UnserializableArgumentError } from "./errors.js";
import { plainObject, refuseUnknown } from "./checks.js";
import type { Settings } from "./options.js";
import type { FunctionDefinition } from "./registry.js";
import { shown } from "./shown.js";
import type { NewCall } from "./store/insert-calls.js";
import type { Duration, Headers, PerCall } from "./types.js";

const PER_CALL_OPTIONS: Record<keyof PerCall | "trx", true> = {
  delay: true,
  runAt: true,
  headers: true,
  orderingKey: true,
  trx: true,
};
const NO_KEY = Buffer.alloc(0);
const MAX_KEY_BYTES = 255;
const MAX_DELAY_MS = 1000 * 365.25 * 24 * 3_600_000;
/** 9999-12-31, the last day that every database can hold. */
const MAX_MOMENT_MS = 253_402_214_400_000;

/**
 * Freezes a call: what is encoded here is what every run gets.
 *
 * @throws {UnserializableArgumentError} @throws {PayloadTooLargeError} @throws {InvalidOptionError}
 */
export function prepareCall(
  definition: FunctionDefinition,
  args: readonly unknown[],
  perCall: PerCall,
  { maxPayloadBytes, signing }: Pick<Settings, "maxPayloadBytes" | "signing">,
): NewCall {
  refuseUnknown(`a call of ${definition.name}`, perCall, PER_CALL_OPTIONS);
  const payload = encode(definition, args);
  const headers = encodeHeaders(definition.name, perCall.headers);
  const bytes = Buffer.byteLength(payload) + Buffer.byteLength(headers);
  if (bytes > maxPayloadBytes) {
    throw new PayloadTooLargeError(
      `${definition.name}: the encoded call has ${bytes} bytes, and maxPayloadBytes is ${maxPayloadBytes}; store the data elsewhere and pass a reference to it`,
    );
  }
  const { delayMs, runAtMs } = dueOf(definition.name, perCall);
  const call: NewCall = {
    id: newCallId(),
    functionName: definition.name,
    stream: definition.stream,
    strategy: definition.strategy,
    orderingKey: orderingKeyOf(definition, args, perCall),
    codec: definition.codec.name,
    version: definition.version,
    headers,
    payload,
    delayMs,
  };
  if (runAtMs !== undefined) call.runAtMs = runAtMs;
  if (signing) call.signature = signing.sign(call, payload);
  return call;
}

function encode(definition: FunctionDefinition, args: readonly unknown[]): string {
  try {
    return encodeArguments(definition.codec, args);
  } catch (error) {
    throw error instanceof UnserializableArgumentError ? error.in(definition.name) : error;
  }
}

function encodeHeaders(name: string, headers: Headers | undefined): string {
  if (headers === undefined) return "{}";
  plainObject(`${name}: headers`, headers, "an object of texts by name");
  for (const [header, value] of Object.entries(headers)) {
    if (typeof value !== "string") {
      throw new InvalidOptionError(`${name}: headers.${header}`, `is ${typeof value}; a header is a text`);
    }
  }
  return JSON.stringify(headers);
}

function orderingKeyOf(definition: FunctionDefinition, args: readonly unknown[], perCall: PerCall): Buffer {
  const at = `${definition.name}: orderingKey`;
  if (definition.strategy !== "keep-order") {
    if (perCall.orderingKey === undefined) return NO_KEY;
    throw new InvalidOptionError(at, `needs strategy: "keep-order"; publish-on-commit promises no order`);
  }
  if (perCall.orderingKey === undefined && definition.orderingKey === undefined) return NO_KEY;
  const key: unknown =
    perCall.orderingKey === undefined ? definition.orderingKey?.(...(args as never[])) : perCall.orderingKey;
  if (typeof key !== "string" || key === "") {
    throw new InvalidOptionError(at, `gave ${shown(key)}; give a text that is not empty, or leave the option out`);
  }
  const bytes = Buffer.from(key);
  if (bytes.length > MAX_KEY_BYTES || !key.isWellFormed() || key.includes("\0")) {
    throw new InvalidOptionError(
      at,
      `gave a text of ${bytes.length} bytes; give at most ${MAX_KEY_BYTES}, well-formed, without NUL`,
    );
  }
  return bytes;
}

function dueOf(name: string, { delay, runAt }: PerCall): { delayMs: number; runAtMs?: number } {
  if (delay !== undefined && runAt !== undefined)
    throw new InvalidOptionError(`${name}: delay`, "and runAt exclude each other");
  if (runAt === undefined) return { delayMs: delay === undefined ? 0 : delayOf(`${name}: delay`, delay) };
  const runAtMs = runAt instanceof Date ? runAt.getTime() : Number.NaN;
  if (!(runAtMs >= 0 && runAtMs <= MAX_MOMENT_MS)) {
    throw new InvalidOptionError(`${name}: runAt`, `is ${shown(runAt)}; give a valid Date between 1970 and 9999`);
  }
  return { delayMs: 0, runAtMs };
}

function delayOf(option: string, delay: Duration): number {
  const delayMs = toMilliseconds(option, delay);
  if (delayMs <= MAX_DELAY_MS) return delayMs;
  throw new InvalidOptionError(option, `is ${shown(delay)}; the longest delay is 1000 years`);
}
