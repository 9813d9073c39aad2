import { PassThrough } from "node:stream";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { MAX_DEPTH } from "../../src/codec/walk.js";
import { follow, refusalOf } from "./support.js";

class Customer {
  name = "Ana";
}

class Tags extends Array<string> {}
class Index extends Map<string, string> {}
class PaymentError extends Error {}

function* numbers(): Generator<number> {
  yield 1;
}

function argumentsOf(..._args: unknown[]): IArguments {
  // eslint-disable-next-line prefer-rest-params
  return arguments;
}

const posing = new Date();
Reflect.setPrototypeOf(posing, Object.prototype);

/** The message without the path that leads it. */
const table: readonly [name: string, value: unknown, problem: string][] = [
  ["a function", () => 1, "is a function"],
  ["a class", Customer, "is a function"],
  ["a symbol", Symbol("x"), "is a symbol"],
  ["a well-known symbol", Symbol.iterator, "is a symbol"],
  ["a promise", Promise.resolve(1), "is a promise; await it before the call"],
  ["a thenable", new (class Query { then() {} })(), "is a thenable (Query); await it before the call"], // prettier-ignore
  ["a class instance", new Customer(), "is a class instance (Customer); pass plain data or register it with the codec"],
  [
    "an instance of a nameless class",
    new (class {
      a = 1;
    })(),
    "is a class instance (anonymous)",
  ],
  ["an error of a subclass", new PaymentError("x"), "is a class instance (PaymentError)"],
  ["a subclass of Array", Tags.of("a"), "is a class instance (Tags)"],
  ["a subclass of Map", new Index(), "is a class instance (Index)"],
  ["an object that inherits from another", Object.create({ a: 1 }), "has a prototype that is no class's"],
  ["an invalid Date", new Date(NaN), "is an invalid Date; pass a valid one, or null"],
  ["a WeakMap", new WeakMap(), "holds its content weakly (WeakMap)"],
  ["a WeakSet", new WeakSet(), "holds its content weakly (WeakSet)"],
  ["a WeakRef", new WeakRef({}), "holds its content weakly (WeakRef)"],
  ["a Node stream", new PassThrough(), "is a stream (PassThrough)"],
  ["a web stream", new ReadableStream(), "is a stream (ReadableStream)"],
  ["a generator", numbers(), "is an iterator"],
  ["an array's iterator", [1].values(), "is an iterator"],
  ["a Map's iterator", new Map().entries(), "is an iterator"],
  ["a boxed string", Object("x"), "is a boxed primitive; pass the primitive itself"],
  ["a boxed number", Object(1), "is a boxed primitive"],
  ["a boxed bigint", Object(1n), "is a boxed primitive"],
  ["a boxed symbol", Object(Symbol("x")), "is a boxed primitive"],
  ["a Proxy", new Proxy({}, {}), "is a Proxy; pass a plain copy of it"],
  ["a Proxy of an array", new Proxy([1], {}), "is a Proxy"],
  ["shared memory", new SharedArrayBuffer(2), "is shared memory (SharedArrayBuffer)"],
  ["a view of shared memory", new Uint8Array(new SharedArrayBuffer(2)), "is a view of shared memory"],
  ["a resizable ArrayBuffer", resizable(), "is a resizable ArrayBuffer; pass a slice() of it"],
  ["a transferred ArrayBuffer", transferred(), "has no bytes any more"],
  ["a view of a transferred ArrayBuffer", viewOfTransferred(), "has no bytes any more"],
  ["bytes with a property", Object.assign(Uint8Array.of(1), { unit: "cm" }), "has properties put on it"],
  ["a Buffer with a property", Object.assign(Buffer.from("x"), { unit: "cm" }), "has properties put on it"],
  ["a Blob", new Blob([]), "is a class instance (Blob)"],
  ["a Date of another realm", runInNewContext("new Date()"), "is a Date of another realm"],
  ["a Map of another realm", runInNewContext("new Map()"), "is a Map of another realm"],
  ["what only looks like a Date", Object.create(Date.prototype), "has the prototype of a Date and is none"],
  ["what only looks like a Map", Object.create(Map.prototype), "has the prototype of a Map and is none"],
  ["what only looks like a Set", Object.create(Set.prototype), "has the prototype of a Set and is none"],
  ["what only looks like a RegExp", Object.create(RegExp.prototype), "has the prototype of a RegExp and is none"],
  ["what only looks like a URL", Object.create(URL.prototype), "has the prototype of a URL and is none"],
  ["what only looks like an Array", Object.create(Array.prototype), "has the prototype of an Array and is none"],
  ["what only looks like an Error", Object.create(TypeError.prototype), "has the prototype of TypeError and is none"],
  ["what only looks like bytes", Object.create(Uint8Array.prototype), "has the prototype of Uint8Array and is none"],
  [
    "what only looks like a Buffer",
    Object.create(Buffer.prototype as object),
    "has the prototype of Buffer and is none",
  ],
  ["a Date under a plain prototype", posing, "is not the plain object"],
];

function resizable(): unknown {
  return new (ArrayBuffer as unknown as new (size: number, options: object) => ArrayBuffer)(1, { maxByteLength: 8 });
}

function transferred(): ArrayBuffer {
  const buffer = new ArrayBuffer(4);
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

function viewOfTransferred(): Uint8Array {
  const view = new Uint8Array(4);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
}

describe("refused by the path that leads to it", () => {
  const places: readonly [path: string, args: (value: unknown) => unknown[]][] = [
    ["args[0]", (value) => [value]],
    ["args[1].items[2].onClick", (value) => [0, { items: [1, 2, { onClick: value }] }]],
    ["args[0].tags<value 1>", (value) => [{ tags: new Set([1, value]) }]],
    ["args[0].byKey<key 1>", (value) => [{ byKey: new Map<unknown, unknown>([["a", 1], [value, 2]]) }]], // prettier-ignore
    ["args[0].byName<value 0>.x", (value) => [{ byName: new Map([["a", { x: value }]]) }]],
    ['args[0]["first name"]["a.b"][""]', (value) => [{ "first name": { "a.b": { "": value } } }]],
    ["args[0].cause.cause", (value) => [new Error("x", { cause: new Error("y", { cause: value }) })]],
  ];

  describe.each(places)("%s", (path, argsWith) => {
    it.each(table)("%s", (_name, value, problem) => {
      const args = argsWith(value);
      const refusal = refusalOf(args);
      expect(refusal.path).toBe(path);
      expect(refusal.message).toContain(`${path} ${problem}`);
      expect(follow(args, refusal.path).value).toBe(value);
    });
  });

  it("names the function through in()", () => {
    const refusal = refusalOf([{ customer: new Customer() }]).in("sendReceipt");
    expect(refusal.message).toBe(
      "sendReceipt: args[0].customer is a class instance (Customer); pass plain data or register it with the codec",
    );
  });
});

describe("refused for its keys", () => {
  const symbol = Symbol("unit");
  const own = (key: string, value: unknown) => Object.defineProperty({}, key, { value, enumerable: true });
  const hidden = (target: object) => Object.defineProperty(target, "secret", { value: 1, enumerable: false });
  const getter = (target: object) => Object.defineProperty(target, "total", { get: () => 1, enumerable: true });
  const setter = Object.defineProperty({}, "total", { set: () => undefined, enumerable: true });

  const keys: readonly [name: string, value: unknown, path: string, problem: string][] = [
    ["__proto__", JSON.parse('{"__proto__":{"polluted":1}}'), ".__proto__", "could reach a prototype"],
    ["constructor", own("constructor", 1), ".constructor", "could reach a prototype"],
    ["prototype", own("prototype", {}), ".prototype", "could reach a prototype"],
    ["__proto__ without a prototype", Object.assign(Object.create(null), { ["__proto__"]: 1 }), ".__proto__", "could reach a prototype"], // prettier-ignore
    ["__proto__ of an error", Object.defineProperty(new Error("x"), "__proto__", { value: 1 }), ".__proto__", "could reach a prototype"], // prettier-ignore
    ["a symbol", { [symbol]: 1 }, "[Symbol(unit)]", "has a symbol as its key"],
    ["a symbol on an array", Object.assign([1], { [symbol]: 1 }), "[Symbol(unit)]", "is a property put on an array"],
    ["a symbol on an error", Object.assign(new Error("x"), { [symbol]: 1 }), "[Symbol(unit)]", "has a symbol as its key"], // prettier-ignore
    ["not enumerable", hidden({ a: 1 }), ".secret", "is not enumerable"],
    ["not enumerable, on an array", hidden([1]), ".secret", "is a property put on an array"],
    ["a getter", getter({ a: 1 }), ".total", "is an accessor"],
    ["a setter", setter, ".total", "is an accessor"],
    ["a getter of an error", getter(new Error("x")), ".total", "is an accessor"],
    ["a property on an array", Object.assign([1], { total: 1 }), ".total", "is a property put on an array"],
    ["an odd index on an array", Object.assign([1], { "01": 1 }), '["01"]', "is a property put on an array"],
    ["a property on a Date", Object.assign(new Date(), { zone: "x" }), ".zone", "is a property put on the Date"],
    ["a property on a Map", Object.assign(new Map(), { unit: 1 }), ".unit", "is a property put on the Map"],
    ["a property on a Set", Object.assign(new Set(), { unit: 1 }), ".unit", "is a property put on the Set"],
    ["a property on a RegExp", Object.assign(/x/, { unit: 1 }), ".unit", "is a property put on the RegExp"],
    ["a property on a URL", Object.assign(new URL("http://x"), { unit: 1 }), ".unit", "is a property put on the URL"],
    ["a property on an ArrayBuffer", Object.assign(new ArrayBuffer(1), { unit: 1 }), ".unit", "is a property put on the ArrayBuffer"], // prettier-ignore
    ["a toJSON method", { toJSON: () => 1 }, ".toJSON", "is a function"],
    ["a match of a regular expression", /b/.exec("abc"), ".index", "is a property put on an array"],
    ["a hole", [1, , 3], "[1]", "is a hole of a sparse array"],
    ["a hole beside a property", Object.assign([1, , 3], { x: 1 }), "[1]", "is a hole of a sparse array"],
    ["a huge sparse array", new Array(2 ** 32 - 1), "[0]", "is a hole of a sparse array"],
    ["an arguments object", argumentsOf(1, 2), ".length", "is not enumerable"],
    ["a namespace such as Math", Math, ".abs", "is not enumerable"],
  ];

  it.each(keys)("%s", (_name, value, path, problem) => {
    const args = [{ value }];
    const refusal = refusalOf(args);
    expect(refusal.path).toBe(`args[0].value${path}`);
    expect(refusal.message).toContain(problem);
    expect(() => follow(args, refusal.path)).not.toThrow();
  });

  it("runs no getter to find out", () => {
    let runs = 0;
    refusalOf([Object.defineProperty({}, "total", { get: () => runs++, enumerable: true })]);
    expect(runs).toBe(0);
  });

  it("runs no trap of a Proxy to find out", () => {
    const trap = () => {
      throw new Error("trapped");
    };
    const handler = { get: trap, getPrototypeOf: trap, ownKeys: trap, getOwnPropertyDescriptor: trap, has: trap };
    expect(refusalOf([new Proxy({}, handler)]).message).toContain("is a Proxy");
  });
});

describe("refused for its depth", () => {
  it.each([MAX_DEPTH, 5_000, 200_000])("%i levels", (levels) => {
    let value: unknown = 1;
    for (let level = 0; level < levels; level++) value = level % 2 === 0 ? { next: value } : [value];
    const refusal = refusalOf([value]);
    expect(refusal.message).toContain("is nested more than 500 levels deep");
    expect(refusal.path.match(/\.next|\[0\]/g)).toHaveLength(MAX_DEPTH);
    expect(() => follow([value], refusal.path)).not.toThrow();
  });

  it("but one level less is not", () => {
    let value: unknown = 1;
    for (let level = 1; level < MAX_DEPTH; level++) value = [value];
    expect(() => refusalOf([value])).toThrow("nothing was refused");
  });
});
