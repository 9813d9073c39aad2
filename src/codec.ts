/** The border between arguments and stored text, whichever codec is behind it. */
import { type Encoded, encodeWith } from "./codec/superjson.js";
import { UndecodablePayloadError, UnserializableArgumentError } from "./errors.js";
import { type Codec } from "./types.js";

export { createSuperjsonCodec, superjsonCodec, type SuperjsonCodecOptions } from "./codec/superjson.js";
export { type AnyClass, type ClassRegistration, type Transformer } from "./codec/registered.js";

/**
 * The text to store, proven to decode again.
 *
 * @throws {UnserializableArgumentError} an argument would not come back as it went in, or the codec failed
 */
export function encodeArguments(codec: Codec, args: readonly unknown[]): string {
  const { text, isPlain } = encode(codec, args);
  // Proven by how it was made; that of a stored call is the better half of its cost.
  if (isPlain) return text;
  const decoded = decodeAsProof(codec, text);
  if (!Array.isArray(decoded)) {
    throw unserializable(codec, `decoded its own text to ${nameOf(decoded)} instead of an array of arguments`);
  }
  if (decoded.length !== args.length) {
    throw unserializable(codec, `decoded its own text of ${args.length} arguments to ${decoded.length}`);
  }
  return text;
}

/** @throws {UndecodablePayloadError} whatever it was that kept the text from being decoded to an array of arguments */
export function decodePayload(codec: Codec, text: string): unknown[] {
  let problem: string;
  try {
    const args: unknown = codec.decode(text);
    if (Array.isArray(args)) return args;
    problem = `decoded the payload to ${nameOf(args)} instead of an array of arguments`;
  } catch (error) {
    throw undecodable(codec, `could not decode the payload: ${messageOf(error)}`, error);
  }
  throw undecodable(codec, problem);
}

function encode(codec: Codec, args: readonly unknown[]): Encoded {
  let encoded: Encoded;
  try {
    encoded = encodeWith(codec, args);
  } catch (error) {
    if (error instanceof UnserializableArgumentError) throw error;
    throw unserializable(codec, `could not encode them: ${messageOf(error)}`, error);
  }
  if (encoded.isPlain) return encoded;
  const text: unknown = encoded.text;
  if (typeof text !== "string") throw unserializable(codec, `encoded them to ${nameOf(text)} instead of a string`);
  // PostgreSQL's text takes neither.
  if (text.includes("\0")) throw unserializable(codec, "encoded them to text with a NUL character; escape it");
  if (!text.isWellFormed()) throw unserializable(codec, "encoded them to text with a lone surrogate; escape it");
  return encoded;
}

function decodeAsProof(codec: Codec, text: string): unknown {
  try {
    return codec.decode(text);
  } catch (error) {
    throw unserializable(codec, `could not decode what it encoded: ${messageOf(error)}`, error);
  }
}

function unserializable(codec: Codec, problem: string, cause?: unknown): UnserializableArgumentError {
  return new UnserializableArgumentError(
    "args",
    `cannot be stored: the codec ${codec.name} ${problem}`,
    asCause(cause),
  );
}

function undecodable(codec: Codec, problem: string, cause?: unknown): UndecodablePayloadError {
  return new UndecodablePayloadError(`the codec ${codec.name} ${problem}`, asCause(cause));
}

function asCause(cause: unknown): ErrorOptions | undefined {
  return cause === undefined ? undefined : { cause };
}

/** Anything can be thrown, also what throws again when it is read. */
function messageOf(error: unknown): string {
  try {
    const message: unknown = error instanceof Error ? error.message : undefined;
    return typeof message === "string" ? message : `it threw ${nameOf(error)}`;
  } catch {
    return "it threw what cannot be read";
  }
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === "object" ? Object.prototype.toString.call(value).slice(8, -1) : `a ${typeof value}`;
}
