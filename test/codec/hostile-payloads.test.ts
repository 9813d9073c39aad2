import { afterEach, describe, expect, it } from "vitest";
import { createSuperjsonCodec, decodePayload, superjsonCodec } from "../../src/codec.js";
import { UndecodablePayloadError } from "../../src/errors.js";

class Customer {
  name = "Ana";
}

const registering = createSuperjsonCodec({
  classes: [Customer],
  transformers: [
    {
      name: "Opaque",
      isApplicable: () => false,
      serialize: (value) => value,
      deserialize: (data) => ({ data }),
    },
  ],
});

const PROTOTYPES = [Object, Array, Function, Map, Set, Error, Customer].map(({ prototype }) => prototype as object);
const KEYS_BEFORE = PROTOTYPES.map((prototype) => Reflect.ownKeys(prototype));

afterEach(() => {
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  expect(PROTOTYPES.map((prototype) => Reflect.ownKeys(prototype))).toEqual(KEYS_BEFORE);
});

function undecodable(payload: unknown): string {
  const text = typeof payload === "string" ? payload : JSON.stringify(payload);
  const messages = [superjsonCodec, registering].map((codec) => {
    try {
      decodePayload(codec, text);
    } catch (error) {
      if (error instanceof UndecodablePayloadError) return error.message;
      throw error;
    }
    throw new Error("it was decoded");
  });
  expect(messages[0]).toBe(messages[1]);
  return messages[0]!;
}

/** Annotations beside a JSON, in the form that superjson gives them. */
function annotated(json: unknown, values: unknown): object {
  return { json, meta: { values, v: 1 } };
}

const CARRIED = ["custom", "carried"];

describe("text that is no payload", () => {
  const table: readonly [text: string][] = [
    [""],
    [" "],
    ["x"],
    ["{"],
    ["null"],
    ["5"],
    ['"json"'],
    ["[]"],
    ["[1]"],
    ["{}"],
    ['{"json":null}'],
    ['{"json":{}}'],
    ['{"json":"[]"}'],
    ['{"json":{"length":1,"0":1}}'],
    ['{"json":[]} x'],
  ];
  it.each(table)("%j", (text) => {
    expect(undecodable(text)).toMatch(/: it is not/);
  });

  it("is not quoted in the message, since it may hold arguments", () => {
    let error: unknown;
    try {
      decodePayload(superjsonCodec, '{"json":["secret');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(UndecodablePayloadError);
    for (let at = error; at !== undefined; at = (at as Error).cause)
      expect((at as Error).message).not.toContain("secret");
  });
});

describe("keys that reach a prototype", () => {
  it.each([
    ['{"json":[{"__proto__":{"polluted":1}}]}'],
    ['{"json":[{"a":[{"__proto__":{"polluted":1}}]}]}'],
    ['{"json":[{"\\u005f_proto__":{"polluted":1}}]}'],
    ['{"json":[{"__proto_\\u005F":{"polluted":1}}]}'],
    ['{"json":[{"constructor":{"prototype":{"polluted":1}}}]}'],
    ['{"json":[{"c\\u006fnstructor":{"x":1}}]}'],
    ['{"json":[{"prototype":{"polluted":1}}]}'],
    ['{"json":[1],"__proto__":{"meta":{"values":{},"v":1}}}'],
    ['{"json":[{}],"meta":{"values":{"__proto__":{"polluted":["set"]}},"v":1}}'],
    ['{"json":[{"a":1}],"meta":{"v":1,"values":{"0":{"__proto__":["Date"]}}}}'],
  ])("%s", (text) => {
    expect(undecodable(text)).toMatch(/has the key \S+, which could reach a prototype/);
  });

  it("as mere text are data", () => {
    const args = ["__proto__", { says: "constructor prototype" }, "\\u005f"];
    expect(decodePayload(superjsonCodec, JSON.stringify({ json: args }))).toEqual(args);
  });
});

describe("annotations that lead to a prototype", () => {
  const json = [{ a: [1] }];
  it.each([
    "__proto__",
    "0.__proto__",
    "0.__proto__.polluted",
    "0.a.__proto__.polluted",
    "0.constructor",
    "0.constructor.prototype",
    "0.constructor.prototype.polluted",
    "0.a.constructor.prototype.polluted",
    "0.prototype",
    "0.toString",
    "0.toString.polluted",
    "0.valueOf",
    "0.__defineGetter__",
    "0.a.map",
    "0.a.length",
    "length",
  ])("%s", (path) => {
    const leads = /could reach a prototype|leads to nothing/;
    for (const type of [["set"], ["undefined"], [CARRIED], [["class", "Customer"]]]) {
      expect(undecodable(annotated(json, { [path]: type }))).toMatch(/could reach a prototype|leads to nothing/);
      expect(undecodable(annotated(json, { "0": { [path.slice(2)]: type } }))).toMatch(leads);
    }
  });

  it("of what superjson calls referential equalities", () => {
    for (const equalities of [
      { "0.a": ["0.__proto__.polluted"] },
      { "0.a": ["0.constructor.prototype.polluted"] },
      { "0.toString": ["0.polluted"] },
      [["0.__proto__.polluted"]],
    ]) {
      const meta = { values: {}, referentialEqualities: equalities, v: 1 };
      expect(undecodable({ json, meta })).toContain("its meta is not");
      expect(undecodable({ json, meta: { referentialEqualities: equalities, v: 1 } })).toContain("its meta is not");
    }
  });

  it.each([
    [["__proto__", "polluted"]],
    [[0, "__proto__"]],
    [[0, "constructor", "prototype"]],
    [[0, "toString"]],
    [[0, "a", "map"]],
    [[0, "a", "length"]],
    [["length"]],
    [["0"]],
    [[0, "a", 0]],
    [[0, "missing"]],
    [[7]],
    [[1]],
    [[-1]],
    [[0.5]],
    [[1, "value"]],
  ])("of a reference: %j", (to) => {
    const payload = annotated([{ a: [1] }, { type: "reference", value: to }], { 1: [CARRIED] });
    expect(undecodable(payload)).toMatch(/leads to no|could reach a prototype/);
  });
});

describe("annotations that superjson would not have written", () => {
  const deep = (levels: number) => '{"0":'.repeat(levels) + "[]" + "}".repeat(levels);
  const table: readonly [name: string, payload: unknown, problem: RegExp][] = [
    ["an unknown type", annotated([1], { 0: ["nonsense"] }), /unknown type "nonsense"/],
    ["the name of an inherited property", annotated([1], { 0: ["toString"] }), /unknown type/],
    ["__proto__ as a type", annotated([1], { 0: ["__proto__"] }), /unknown type/],
    ["a class", annotated([{}], { 0: [["class", "Customer"]] }), /unknown type/],
    ["a symbol", annotated(["x"], { 0: [["symbol", "x"]] }), /unknown type/],
    ["a typed array of superjson's own", annotated([1e9], { 0: [["typed-array", "Uint8Array"]] }), /unknown type/],
    ["an error of superjson's own", annotated([{}], { 0: ["Error"] }), /unknown type/],
    ["another custom transformer", annotated([1], { 0: [["custom", "toString"]] }), /unknown type/],
    ["a custom transformer and more", annotated([1], { 0: [["custom", "carried", 1]] }), /unknown type/],
    ["a type that is a number", annotated([1], { 0: [5] }), /unknown type/],
    ["no type", annotated([1], { 0: [] }), /unknown type/],
    ["an object for a type", annotated([1], { 0: [{}] }), /unknown type/],
    ["null", annotated([1], { 0: null }), /neither a list nor an object/],
    ["a text", annotated([1], { 0: "Date" }), /neither a list nor an object/],
    ["a list of annotations", annotated([1], [["set"]]), /its meta is not/],
    ["too long", annotated([[1]], { 0: ["set", {}, {}] }), /more than a type and children/],
    ["children of a leaf", annotated([{ a: 1 }], { 0: ["Date", { a: ["Date"] }] }), /more than a type and children/],
    ["children that are a list", annotated([[1]], { 0: ["set", ["Date"]] }), /neither a list nor an object/],
    ["a place that is not there", annotated([1], { 3: ["undefined"] }), /leads to nothing/],
    ["a far index", annotated([1], { 4294967294: ["undefined"] }), /leads to nothing/],
    ["a place inside of a number", annotated([1], { "0.x": ["undefined"] }), /leads to nothing/],
    ["an index written oddly", annotated([[1]], { "0.00": ["undefined"] }), /leads to nothing/],
    ["an escape that is none", annotated([1], { "\\0": ["undefined"] }), /escaped wrongly/],
    ["an escape at the end", annotated([1], { "0\\": ["undefined"] }), /escaped wrongly/],
    ["one inside of another", annotated([[[1]]], { 0: ["set"], "0.0.0": ["set"] }), /overlap/],
    ["no values", { json: [1], meta: { v: 1 } }, /its meta is not/],
    ["no version", { json: [1], meta: { values: {} } }, /its meta is not/],
    ["another version", { json: [1], meta: { values: {}, v: 0 } }, /its meta is not/],
    ["null for meta", { json: [1], meta: null }, /its meta is not/],
    ["a date that is none", annotated([{ toString: 1, valueOf: 1 }], { 0: ["Date"] }), /./],
    ["a bigint that is none", annotated(["x"], { 0: ["bigint"] }), /./],
    ["a URL that is none", annotated(["x"], { 0: ["URL"] }), /./],
    ["a Map that is none", annotated([[1]], { 0: ["map"] }), /./],
    ["a regular expression that is none", annotated(["/(/"], { 0: ["regexp"] }), /./],
    ["a hundred thousand levels", `{"json":[[]],"meta":{"values":${deep(100_000)},"v":1}}`, /./],
  ];
  it.each(table)("%s", (_name, payload, problem) => {
    expect(undecodable(payload)).toMatch(problem);
  });
});

describe("carried values that were never carried", () => {
  const carried = (value: unknown, children?: object) => annotated([value], { 0: children ? [CARRIED, children] : [CARRIED] }); // prettier-ignore
  const table: readonly [name: string, payload: unknown, problem: RegExp][] = [
    ["no object", carried(5), /names no type/],
    ["an array", carried(["Buffer", "AA=="]), /names no type/],
    ["no type", carried({ value: 1 }), /names no type/],
    ["a type that is no text", carried({ type: 5, value: 1 }), /names no type/],
    ["an unknown type", carried({ type: "Shopper", value: {} }), /"Shopper" is not registered/],
    ["an inherited name", carried({ type: "toString", value: {} }), /"toString" is not registered/],
    ["hidden fields that are no list", carried({ type: "Error", value: {}, hidden: "x" }), /hidden fields/],
    ["bytes that are no text", carried({ type: "Buffer", value: [1, 2] }), /is not base64/],
    ["bytes that are not base64", carried({ type: "Buffer", value: "!!!!" }), /is not base64/],
    ["bytes cut short", carried({ type: "Float64Array", value: "AAAA" }), /./],
    ["a number for bytes", carried({ type: "Uint8Array", value: 1e9 }), /is not base64/],
    ["an error that is a text", carried({ type: "Error", value: "x" }), /content of Error is not an object/],
    ["an error that is an array", carried({ type: "Error", value: [] }), /content of Error is not an object/],
    ["fields that are null", carried({ type: "null-prototype", value: null }), /is not an object/],
    ["a reference to nothing", carried({ type: "reference" }), /a reference is not one/],
    ["a reference to a text", carried({ type: "reference", value: "0" }), /a reference is not one/],
    ["a reference by objects", carried({ type: "reference", value: [{}] }), /a reference is not one/],
    ["a reference with children", carried({ type: "reference", value: [[1]] }, { "value.0": ["set"] }), /is not one/],
    [
      "a reference with a path of its own kind",
      carried({ type: "reference", value: [0] }, { "value.0": ["number"] }),
      /is not one/,
    ],
    ["a reference to itself", carried({ type: "reference", value: [0] }), /leads to no object/],
    ["an annotation of the type", carried({ type: "Error", value: {} }, { type: ["undefined"] }), /past what is/],
    ["an annotation of a field beside", carried({ type: "Error", value: {}, x: 1 }, { x: ["set"] }), /past what is/],
  ];
  it.each(table)("%s", (_name, payload, problem) => {
    expect(undecodable(payload)).toMatch(problem);
  });

  it("references inside of a transformer's data", () => {
    const value = { type: "Opaque", value: { a: { type: "reference", value: [0] } } };
    const payload = annotated([value], { 0: [CARRIED, { "value.a": [CARRIED] }] });
    expect(() => decodePayload(registering, JSON.stringify(payload))).toThrow("a reference is not one");
  });

  it("a reference in a Map whose keys collide", () => {
    const entries = [["key", { type: "reference", value: [0] }], ["key", { a: 1 }]]; // prettier-ignore
    expect(undecodable(annotated([entries], { 0: ["map", { "0.1": [CARRIED] }] }))).toContain("where none belongs");
  });

  it("a reference in a Set that then loses it", () => {
    const payload = annotated([{ s: [{ type: "reference", value: [0] }] }], { "0.s": ["map", { 0: [CARRIED] }] });
    expect(undecodable(payload)).toMatch(/./);
  });

  it("an error whose fields take the names of methods is data", () => {
    const value = { type: "Error", value: { message: { a: 1 }, toString: 5, stack: 7 }, hidden: ["stack", 5, null] };
    const [error] = decodePayload(superjsonCodec, JSON.stringify(carried(value))) as [Record<string, unknown>];
    expect(error).toBeInstanceOf(Error);
    expect(error["message"]).toEqual({ a: 1 });
  });

  it("fields that shadow methods of a registered class are data", () => {
    const value = { type: "Customer", value: { name: { polluted: 1 }, toString: 1 } };
    const [customer] = decodePayload(registering, JSON.stringify(carried(value))) as [Customer];
    expect(Object.keys(customer)).toEqual(["name", "toString"]);
    expect(Object.getPrototypeOf(customer)).toBe(Customer.prototype);
  });
});

describe("payloads that are odd and harmless", () => {
  it("a catastrophic regular expression is only data", () => {
    const [pattern] = decodePayload(superjsonCodec, JSON.stringify(annotated(["/(a+)+$/"], { 0: ["regexp"] })));
    expect(pattern).toEqual(/(a+)+$/);
  });

  it("code is only text", () => {
    const args = ["process.exit(1)", { $function: "() => process.exit(1)" }];
    expect(decodePayload(superjsonCodec, JSON.stringify({ json: args }))).toEqual(args);
  });

  it("JSON of a hundred thousand levels", () => {
    const text = (leaf: string) => `{"json":[${"[".repeat(100_000)}${leaf}${"]".repeat(100_000)}]}`;
    expect(decodePayload(superjsonCodec, text(""))).toHaveLength(1);
    expect(undecodable(text('"__proto__"'))).toMatch(/stack/);
  });
});
