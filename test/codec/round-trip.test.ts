import { deepStrictEqual } from "node:assert/strict";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { superjsonCodec } from "../../src/codec.js";
import { inLittleEndian } from "../../src/codec/bytes.js";
import { MAX_DEPTH } from "../../src/codec/walk.js";
import { difference, roundTrip } from "./support.js";

const DAY = new Date("2024-02-29T12:34:56.789Z");

function withNullPrototype(fields: object): object {
  return Object.assign(Object.create(null) as object, fields);
}

function thrown(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

const table: readonly [name: string, value: unknown][] = [
  ["a plain order", { id: "ord_1", total: 12.5, paid: true, note: null, items: [{ sku: "a" }, { sku: "b" }] }],
  ["text", "São Paulo – 📦"],
  ["an empty text", ""],
  ["text with a NUL", "a\u0000b"],
  ["text with lone surrogates", ["\ud800", "x\udfff", { "\udc00": "\ud83d" }]],
  ["text that JSON escapes", '"\\\n\r\t\b\f\u2028\u2029</script>'],
  ["a text of a million characters", "é".repeat(1_000_000)],
  ["numbers", [0, 1, -1, 0.1, 1e21, 5e-324, Number.MAX_VALUE, Number.MAX_SAFE_INTEGER + 2]],
  ["NaN", NaN],
  ["-0", -0],
  ["infinities", [Infinity, -Infinity]],
  ["undefined", undefined],
  ["undefined in places", { a: undefined, b: [undefined, 1, undefined], c: new Map([[undefined, undefined]]) }],
  ["bigints", [0n, -1n, 2n ** 200n, { id: 9007199254740993n }]],
  ["a Date", DAY],
  ["Dates at the ends of time", [new Date(8.64e15), new Date(-8.64e15), new Date(0), new Date(-1)]],
  ["a Map", new Map<unknown, unknown>([["a", 1], [2, new Date(5)], [{ k: 1 }, new Map([[3n, new Set([1])]])]])], // prettier-ignore
  ["a Map with odd keys", new Map<unknown, unknown>([[NaN, 1], [undefined, 2], [null, 3], [0, 4], [1n, 5], ["", 6]])], // prettier-ignore
  ["an empty Map and Set", [new Map(), new Set()]],
  ["a Set", new Set<unknown>(["b", "a", 3n, undefined, NaN, 1, { deep: new Set([new Date(1)]) }])],
  ["NaN in several places", { a: NaN, set: new Set([NaN, 1]), map: new Map([[NaN, 1]]) }],
  ["equal bigints in several places", { a: 5n, set: new Set([1n, 5n, 7n]), map: new Map([[5n, 5n]]) }],
  ["a URL", new URL("https://user:p%40ss@example.com:8443/a%20b/../c?q=1&q=2#f")],
  ["regular expressions", [/a\/b\n[/]/giu, new RegExp(""), /(?<year>\d{4})/dy, new RegExp("\n/")]],
  ["a Buffer", Buffer.from("carteiro")],
  ["a Buffer inside of a pool", Buffer.from("xxcarteiroxx").subarray(2, 10)],
  ["an empty Buffer", Buffer.alloc(0)],
  ["Int8Array", Int8Array.of(-128, 127)],
  ["Uint8Array", Uint8Array.of(0, 255)],
  ["Uint8ClampedArray", Uint8ClampedArray.of(0, 255)],
  ["Int16Array", Int16Array.of(-32768, 32767)],
  ["Uint16Array", Uint16Array.of(0, 65535)],
  ["Int32Array", Int32Array.of(-(2 ** 31), 2 ** 31 - 1)],
  ["Uint32Array", Uint32Array.of(0, 2 ** 32 - 1)],
  ["BigInt64Array", BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)],
  ["BigUint64Array", BigUint64Array.of(0n, 2n ** 64n - 1n)],
  ["Float32Array", Float32Array.of(NaN, -0, 1.5, Infinity, -Infinity)],
  ["Float64Array", Float64Array.of(NaN, -0, Math.PI, Infinity, -Infinity, 5e-324)],
  ["a view with an offset", new Uint16Array(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8).buffer, 2, 2)],
  ["an ArrayBuffer", Uint8Array.of(1, 2, 3).buffer],
  ["a DataView with an offset", new DataView(Uint8Array.of(1, 2, 3, 4).buffer, 1, 2)],
  ["an Error", new Error("broken")],
  ["an Error without a message", new Error()],
  ["built-in errors", [TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError].map((E) => new E("x"))],
  ["an error with a cause", new TypeError("outer", { cause: new RangeError("inner", { cause: { at: DAY } }) })],
  ["an error whose cause is undefined", new Error("x", { cause: undefined })],
  ["an error with fields", Object.assign(new Error("connect"), { code: "ECONNREFUSED", errno: -111, at: DAY })],
  ["an error with a name of its own", Object.assign(new Error("x"), { name: "Custom" })],
  ["an AggregateError", new AggregateError([new Error("a"), 5n], "both")],
  ["an error of the engine", thrown(() => (undefined as unknown as { x: 1 }).x)],
  ["an object without a prototype", withNullPrototype({ a: 1, b: withNullPrototype({ at: DAY }) })],
  ["an empty object without a prototype", withNullPrototype({})],
  ["regular expression groups", /(?<year>\d+)/.exec("in 2024")!.groups],
  ["keys that need escaping in a path", { "a.b": DAY, "": 1n, "c\\d": 1n, "\\.": { "..": 1n, "\\\\": DAY }, "a": { b: 2n } }], // prettier-ignore
  ["keys that look like numbers", { 1: 1n, "01": 2n, "-1": 3n, "1.5": { 0: DAY }, "1e3": undefined }],
  ["keys of every prototype", { toString: 1, valueOf: DAY, hasOwnProperty: 2n, toJSON: 3, then: 4, length: 5 }],
  ["keys of the stored form", { json: 1, meta: { values: { 0: ["Date"] }, v: 1 }, type: "reference", value: [0] }],
  ["the stored form with something rich", { type: "Buffer", value: 1n, at: { type: "reference", value: [0], n: NaN } }],
  ["frozen data", Object.freeze({ a: Object.freeze([1, Object.freeze({ b: DAY })]) })],
  ["an array of a hundred thousand", Array.from({ length: 100_000 }, (_, index) => index * 3)],
  [
    "an array of rich values",
    Array.from({ length: 2_000 }, (_, index) => ({ at: new Date(index), id: BigInt(index) })),
  ],
  ["holes filled with undefined", Array.from({ length: 3 })],
];

describe("arguments that come back equal", () => {
  it.each(table)("%s", (_name, value) => {
    const [decoded] = roundTrip([value]);
    expect(difference(decoded, value)).toBeUndefined();
    deepStrictEqual(decoded, value);
  });

  it.each(table)("%s, beside others and inside of collections", (_name, value) => {
    const args = [DAY, { nested: [value] }, new Map([["key", [value]]]), new Set([[value]]), undefined];
    expect(difference(roundTrip(args), args)).toBeUndefined();
  });

  it("keeps the number of arguments", () => {
    expect(roundTrip([])).toEqual([]);
    expect(roundTrip([1, undefined])).toHaveLength(2);
    expect(roundTrip([undefined, undefined, undefined])).toHaveLength(3);
  });

  it.runIf("Float16Array" in globalThis)("Float16Array", () => {
    const Float16 = (globalThis as unknown as Record<string, Float32ArrayConstructor>)["Float16Array"]!;
    const value = Float16.of(NaN, -0, 1.5, Infinity);
    expect(difference(roundTrip([value]), [value])).toBeUndefined();
  });

  it("gives each view bytes of its own", () => {
    const bytes = Uint8Array.of(1, 2, 3, 4);
    const [first, second] = roundTrip([bytes.subarray(0, 2), bytes.subarray(2)]) as [Uint8Array, Uint8Array];
    expect(first.buffer).not.toBe(second.buffer);
    expect([first.byteOffset, second.byteOffset, first.buffer.byteLength]).toEqual([0, 0, 2]);
  });

  it("brings a RegExp back at the start of its search", () => {
    const pattern = /a/g;
    pattern.exec("aa");
    expect(pattern.lastIndex).toBe(1);
    expect((roundTrip([pattern]) as [RegExp])[0].lastIndex).toBe(0);
  });

  it("brings an error back as one that tools take for an error", () => {
    const [decoded] = roundTrip([new TypeError("x")]);
    expect(Object.prototype.toString.call(decoded)).toBe("[object Error]");
    expect(decoded).toBeInstanceOf(TypeError);
  });

  it("takes plain data of another realm for plain data", () => {
    const foreign: unknown = runInNewContext("({ a: [1, { b: undefined, n: NaN, list: [2n] }] })");
    expect(difference(roundTrip([foreign]), [{ a: [1, { b: undefined, n: NaN, list: [2n] }] }])).toBeUndefined();
    const plain: unknown = runInNewContext('({ a: [1, { b: "x" }] })');
    expect(difference(roundTrip([plain]), [{ a: [1, { b: "x" }] }])).toBeUndefined();
  });

  it("leaves the arguments as they were", () => {
    const shared = { at: DAY };
    const args = [{ list: [undefined, shared], shared, map: new Map([[shared, new Set([shared, 1n])]]) }];
    const before = structuredClone(args);
    roundTrip(args);
    expect(difference(args, before)).toBeUndefined();
  });

  describe("at the deepest", () => {
    const wraps: readonly [string, (value: unknown) => unknown][] = [
      ["objects", (value) => ({ value })],
      ["arrays", (value) => [value]],
      ["Maps", (value) => new Map([["key", value]])],
      ["Map keys", (value) => new Map([[value, "value"]])],
      ["Sets", (value) => new Set([value])],
      ["errors", (value) => Object.assign(new Error("x"), { stack: "", cause: value })],
      ["objects without a prototype", (value) => withNullPrototype({ value })],
    ];

    it.each(wraps)("%s", (_name, wrap) => {
      let value: unknown = DAY;
      // The list of arguments is the first level, the Date the last.
      for (let level = 2; level < MAX_DEPTH; level++) value = wrap(value);
      expect(difference(roundTrip([value]), [value])).toBeUndefined();
    });
  });
});

describe("the stored text", () => {
  it("of plain data is plain JSON", () => {
    expect(superjsonCodec.encode([{ id: 1, tags: ["a"], note: null }])).toBe(
      '{"json":[{"id":1,"tags":["a"],"note":null}]}',
    );
  });

  it("is superjson's own where superjson knows the type", () => {
    expect(JSON.parse(superjsonCodec.encode([{ at: DAY, tags: new Set(["a"]), id: 7n }]))).toEqual({
      json: [{ at: "2024-02-29T12:34:56.789Z", tags: ["a"], id: "7" }],
      meta: { values: { "0.at": ["Date"], "0.tags": ["set"], "0.id": ["bigint"] }, v: 1 },
    });
  });

  it("names the type of what is carried", () => {
    const { json } = JSON.parse(superjsonCodec.encode([Uint16Array.of(1, 256)])) as { json: unknown };
    expect(json).toEqual([{ type: "Uint16Array", value: "AQAAAQ==" }]);
  });

  it("is ASCII-safe where a database would refuse it", () => {
    const text = superjsonCodec.encode(["\ud800\u0000", { "\udc00\u0000": 1 }]);
    expect(text).toBe(String.raw`{"json":["\ud800\u0000",{"\udc00\u0000":1}]}`);
  });

  it("keeps numbers in little-endian order on machines of either kind", () => {
    const bytes = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...inLittleEndian(bytes, 1, "BE")]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...inLittleEndian(bytes, 2, "BE")]).toEqual([2, 1, 4, 3, 6, 5, 8, 7]);
    expect([...inLittleEndian(bytes, 4, "BE")]).toEqual([4, 3, 2, 1, 8, 7, 6, 5]);
    expect([...inLittleEndian(bytes, 8, "BE")]).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
    expect([...inLittleEndian(bytes, 8, "LE")]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });
});
