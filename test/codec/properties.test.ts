import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodePayload, encodeArguments, superjsonCodec } from "../../src/codec.js";
import { UnserializableArgumentError } from "../../src/errors.js";
import { codec, FORBIDDEN, graph, key, leaf, views } from "./arbitraries.js";
import { difference, follow, type Found, isMissing, roundTrip } from "./support.js";

const RUNS = 250;

class Unregistered {
  name = "x";
}

describe("arguments of every supported kind", () => {
  it("come back equal, identity included", () => {
    fc.assert(
      fc.property(graph, (args) => {
        expect(difference(roundTrip(args, codec), args)).toBeUndefined();
      }),
      { numRuns: 2 * RUNS },
    );
  });

  it("come back equal a second time, from the same text", () => {
    fc.assert(
      fc.property(graph, (args) => {
        const stored = encodeArguments(codec, args);
        expect(encodeArguments(codec, decodePayload(codec, stored))).toBe(stored);
      }),
      { numRuns: RUNS },
    );
  });

  it("are stored as text that databases take", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(leaf, fc.dictionary(key, leaf))), (args) => {
        expect(encodeArguments(codec, args)).toMatch(/^[^\0]*$/su);
      }),
      { numRuns: RUNS },
    );
  });
});

const anything = fc.anything({
  key: fc.oneof(key, fc.constantFrom(...FORBIDDEN)),
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
  maxDepth: 3,
});

const offender = fc.constantFrom<((...args: never[]) => unknown)[]>(
  () => () => 1,
  () => Symbol("x"),
  () => Promise.resolve(),
  () => new Unregistered(),
  () => new WeakMap(),
  () => new Date(NaN),
  () => [1].values(),
  () => new Proxy({}, {}),
  () => ({ [Symbol("key")]: 1 }),
  () => Object.defineProperty({}, "hidden", { value: 1 }),
  () => Object.defineProperty({}, "getter", { get: () => 1, enumerable: true }),
  () => Object.assign([1], { extra: 1 }),
);

/** Something refused, wrapped into whatever holds other values. */
const offending = fc
  .tuple(
    offender,
    fc.array(fc.tuple(fc.constantFrom("object", "array", "key", "value", "set", "cause"), key, leaf), { maxLength: 5 }),
  )
  .map(([offend, wraps]): unknown => wraps.reduce<unknown>(wrap, offend()));

function wrap(value: unknown, [how, name, beside]: [string, string, unknown]): unknown {
  switch (how) {
    case "object":
      return { beside, [name]: value };
    case "array":
      return [beside, value];
    case "key":
      return new Map([["x", beside], [value, beside]]); // prettier-ignore
    case "value":
      return new Map<unknown, unknown>([["x", beside], [beside, value]]); // prettier-ignore
    case "set":
      return new Set([beside, value]);
    default:
      return new TypeError("x", { cause: value });
  }
}

/** Judged without the codec: whether what the path leads to cannot come back, be it a value or the key of one. */
function offends(found: Found): boolean {
  const { value, key: name, holder } = found;
  if (isMissing(found) || typeof name === "symbol" || FORBIDDEN.includes(name ?? "")) return true;
  if (name !== undefined && holder !== undefined) {
    const descriptor = Object.getOwnPropertyDescriptor(holder, name)!;
    if (!descriptor.enumerable || descriptor.get !== undefined) return true;
    if (Array.isArray(holder) && !/^\d+$/.test(name)) return true;
  }
  if (typeof value === "function" || typeof value === "symbol") return true;
  if (typeof value !== "object" || value === null) return false;
  if (value instanceof Date) return Number.isNaN(value.getTime());
  const known = [Object, Array, Map, Set, Error, TypeError, RegExp, URL, Buffer, ArrayBuffer, DataView, ...views];
  const prototype: unknown = Object.getPrototypeOf(value);
  return isProxy(value) || (prototype !== null && !known.some((of) => of.prototype === prototype));
}

function isProxy(value: object): boolean {
  try {
    structuredClone(value);
    return false;
  } catch (error) {
    return String(error).includes("#<Object> could not be cloned");
  }
}

describe("any arguments at all", () => {
  const either = (args: unknown[]): "stored" | "refused" => {
    let stored: string;
    try {
      stored = encodeArguments(superjsonCodec, args);
    } catch (error) {
      expect(error).toBeInstanceOf(UnserializableArgumentError);
      const { path, message } = error as UnserializableArgumentError;
      expect(message).toContain(path);
      expect(offends(follow(args, path)), message).toBe(true);
      return "refused";
    }
    expect(difference(decodePayload(superjsonCodec, stored), args)).toBeUndefined();
    return "stored";
  };

  it("come back equal, or are refused by a path that leads to what is wrong", () => {
    const seen = { stored: 0, refused: 0 };
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 3 }), (args) => {
        seen[either(args)]++;
      }),
      { numRuns: 4 * RUNS },
    );
    expect(seen.stored).toBeGreaterThan(RUNS / 4);
    expect(seen.refused).toBeGreaterThan(RUNS / 4);
  });

  it("are refused where something in them is wrong", () => {
    fc.assert(
      fc.property(fc.tuple(leaf, offending), (args) => {
        expect(either(args)).toBe("refused");
      }),
      { numRuns: RUNS },
    );
  });
});
