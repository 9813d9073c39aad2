/** A judge of equality that shares nothing with the codec, and a reader of the paths that its errors name. */
import { isDeepStrictEqual, types } from "node:util";
import { decodePayload, encodeArguments, superjsonCodec } from "../../src/codec.js";
import { UnserializableArgumentError } from "../../src/errors.js";
import { type Codec } from "../../src/types.js";

export function roundTrip(args: readonly unknown[], codec: Codec = superjsonCodec): unknown[] {
  return decodePayload(codec, encodeArguments(codec, args));
}

export function refusalOf(args: readonly unknown[], codec: Codec = superjsonCodec): UnserializableArgumentError {
  try {
    encodeArguments(codec, args);
  } catch (error) {
    if (error instanceof UnserializableArgumentError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

/**
 * Where two values first differ, or undefined: prototypes, own keys with their order and enumerability, leaves by
 * `Object.is`, and identity: what is one object on one side must be one on the other.
 */
export function difference(left: unknown, right: unknown): string | undefined {
  return compare(left, right, "value", new Map(), new Map());
}

type Pairs = Map<object, object>;

function compare(left: unknown, right: unknown, path: string, there: Pairs, back: Pairs): string | undefined {
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) {
    return Object.is(left, right) ? undefined : path;
  }
  if (there.has(left) || back.has(right)) {
    return there.get(left) === right && back.get(right) === left ? undefined : `${path} (identity)`;
  }
  there.set(left, right);
  back.set(right, left);
  if (Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return `${path} (prototype)`;
  const inside = (a: unknown, b: unknown, step: string) => compare(a, b, path + step, there, back);

  if (types.isDate(left)) return inside(left.getTime(), (right as Date).getTime(), " (time)");
  if (types.isRegExp(left)) return inside(left.toString(), (right as RegExp).toString(), " (pattern)");
  if (left instanceof URL) return inside(left.href, (right as URL).href, " (href)");
  if (types.isAnyArrayBuffer(left)) return inside(hex(left), hex(right as ArrayBuffer), " (bytes)");
  if (ArrayBuffer.isView(left)) return inside(hex(left), hex(right as ArrayBufferView), " (bytes)");
  if (types.isMap(left)) {
    return inside([...left].flat(1), [...(right as Map<unknown, unknown>)].flat(1), " (entries)");
  }
  if (types.isSet(left)) return inside([...left], [...(right as Set<unknown>)], " (items)");

  const keys = Reflect.ownKeys(left);
  if (!isDeepStrictEqual(keys, Reflect.ownKeys(right))) return `${path} (keys)`;
  for (const key of keys) {
    const a = Object.getOwnPropertyDescriptor(left, key)!;
    const b = Object.getOwnPropertyDescriptor(right, key)!;
    if (a.enumerable !== b.enumerable || typeof a.get !== typeof b.get) return `${path}.${String(key)} (descriptor)`;
    // Engines differ in how an error keeps its stack.
    const isStack = left instanceof Error && key === "stack";
    const differs = isStack
      ? inside(left.stack, (right as Error).stack, ".stack")
      : inside(a.value, b.value, `.${String(key)}`);
    if (differs !== undefined) return differs;
  }
  return undefined;
}

function hex(bytes: ArrayBufferLike | ArrayBufferView): string {
  const view = ArrayBuffer.isView(bytes) ? bytes : new Uint8Array(bytes);
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("hex");
}

const MISSING = Symbol("missing");

/** What an error's path leads to: the value, the key that leads to it, and the object that it is in. */
export interface Found {
  value: unknown;
  key: string | symbol | undefined;
  holder: unknown;
}

/** Follows `args[0].items[2]["a b"]<value 3>`; throws where the path leads nowhere. A hole is found as a missing value. */
export function follow(args: readonly unknown[], path: string): Found {
  if (!path.startsWith("args")) throw new Error(`${path} does not start at args`);
  let found: Found = { value: args, key: undefined, holder: undefined };
  let rest = path.slice("args".length);
  while (rest !== "") {
    const [token, next] = step(found.value, rest);
    found = next;
    rest = rest.slice(token.length);
  }
  return found;
}

export function isMissing({ value }: Found): boolean {
  return value === MISSING;
}

function step(holder: unknown, rest: string): [token: string, found: Found] {
  const entry = /^<(key|value) (\d+)>/.exec(rest);
  if (entry !== null) {
    const all = holder instanceof Map ? [...holder] : [...(holder as Set<unknown>)].map((item) => [item, item]);
    if (Number(entry[2]) >= all.length) throw new Error(`no entry at ${rest}`);
    return [entry[0], { value: all[Number(entry[2])]![entry[1] === "key" ? 0 : 1], key: undefined, holder }];
  }
  const symbol = /^\[Symbol\((.*?)\)\]/s.exec(rest);
  if (symbol !== null) {
    const key = Object.getOwnPropertySymbols(holder as object).find((own) => String(own) === `Symbol(${symbol[1]!})`);
    return [symbol[0], property(holder, key!)];
  }
  const name = /^\.([A-Za-z_$][\w$]*)/.exec(rest);
  if (name !== null) return [name[0], property(holder, name[1]!)];
  const quoted = /^\[("(?:[^"\\]|\\.)*"|\d+)\]/.exec(rest);
  if (quoted === null) throw new Error(`cannot read ${rest}`);
  const key = String(JSON.parse(quoted[1]!));
  if (Array.isArray(holder) && Number(key) < holder.length && !Object.hasOwn(holder, key)) {
    return [quoted[0], { value: MISSING, key, holder }];
  }
  return [quoted[0], property(holder, key)];
}

function property(holder: unknown, key: string | symbol): Found {
  const descriptor = Object.getOwnPropertyDescriptor(holder, key);
  if (descriptor === undefined) throw new Error(`there is no ${String(key)}`);
  return { value: descriptor.value, key, holder };
}
