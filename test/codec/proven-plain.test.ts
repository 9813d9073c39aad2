import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { decodePayload, encodeArguments, superjsonCodec } from "../../src/codec.js";
import type { Codec } from "../../src/types.js";
import { FORBIDDEN, key, leaf } from "./arbitraries.js";
import { difference, refusalOf } from "./support.js";

const RUNS = 500;

/** The same, by another object: what it encodes is decoded as proof, whatever it is. */
const proving: Codec = { ...superjsonCodec };

const plainLeaf = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.integer(),
  fc.constantFrom(null, true, false, 99.5, 1e300),
);
const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    plainLeaf,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;
const anyKey = fc.oneof(key, fc.constantFrom(...FORBIDDEN, "toJSON", "length", "json", "meta"));
/** Plain at most places: one value that is not is what the two ways could disagree about. */
const nearlyPlain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    { weight: 8, arbitrary: plain },
    { weight: 1, arbitrary: leaf },
    { weight: 1, arbitrary: fc.anything({ key: anyKey, withSparseArray: true, withNullPrototype: true }) },
    { weight: 2, arbitrary: fc.dictionary(anyKey, tie("value"), { maxKeys: 3, noNullPrototype: true }) },
    { weight: 1, arbitrary: tie("value").map((value) => [value, value]) },
  ),
})).value;

describe("plain arguments, which are not decoded as proof", () => {
  afterEach(() => vi.restoreAllMocks());

  it("come back equal", () => {
    fc.assert(
      fc.property(fc.array(plain), (args) => {
        const parsing = vi.spyOn(JSON, "parse");
        const text = encodeArguments(superjsonCodec, args);
        expect(parsing).not.toHaveBeenCalled();
        parsing.mockRestore();
        expect(difference(decodePayload(superjsonCodec, text), args)).toBeUndefined();
      }),
      { numRuns: RUNS },
    );
  });

  it("are stored, or refused, as they are by a codec that is asked for its proof", () => {
    const outcome = (codec: Codec, args: unknown[]) => {
      try {
        return encodeArguments(codec, args);
      } catch (error) {
        return String(error);
      }
    };
    fc.assert(
      fc.property(fc.array(nearlyPlain), (args) => {
        expect(outcome(superjsonCodec, args)).toBe(outcome(proving, args));
      }),
      { numRuns: RUNS },
    );
  });
});

describe("a proof is asked for", () => {
  afterEach(() => vi.restoreAllMocks());

  it("of all that is more than plain", () => {
    const parsing = vi.spyOn(JSON, "parse");
    encodeArguments(superjsonCodec, [new Date(0)]);
    expect(parsing).toHaveBeenCalled();
  });

  it.each(["encode", "decode"] as const)("where somebody has replaced %s", (method) => {
    vi.spyOn(superjsonCodec, method).mockImplementation(() => {
      throw new Error("replaced");
    });
    expect(refusalOf([{ a: 1 }], superjsonCodec).message).toMatch(/replaced/);
  });

  it.each([Array.prototype, Object.prototype])("where a library has given everything a toJSON", (prototype) => {
    const toJSON = { value: () => "mine", configurable: true };
    Object.defineProperty(prototype, "toJSON", toJSON);
    try {
      expect(() => encodeArguments(superjsonCodec, [{ a: 1 }])).toThrow(/could not decode what it encoded/);
    } finally {
      Reflect.deleteProperty(prototype, "toJSON");
    }
  });
});
