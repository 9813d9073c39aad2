/** Arbitrary arguments that the codec supports, and the codec that supports them. */
import fc from "fast-check";
import { createSuperjsonCodec } from "../../src/codec.js";

export class Customer {
  [field: string]: unknown;
}
class Money {
  readonly #cents: bigint;
  constructor(cents: bigint) {
    this.#cents = cents;
  }
  get cents(): bigint {
    return this.#cents;
  }
}

export const codec = createSuperjsonCodec({
  classes: [Customer],
  transformers: [
    {
      name: "Money",
      isApplicable: (value) => value instanceof Money,
      serialize: (value: Money) => value.cents,
      deserialize: (cents: bigint) => Object.freeze(new Money(cents)),
    },
  ],
});

/** JSON.parse of Node 23 to 26 may take one escaped key for another that was parsed before (nodejs/node#63785). */
const mistakesEscapedKeys = (() => {
  JSON.parse(String.raw`{"probe":0,"\\\\":0}`);
  return !Object.hasOwn(JSON.parse(String.raw`{"probe":0,"\\.":0}`) as object, "\\.");
})();

export function isReadable(name: string): boolean {
  return !mistakesEscapedKeys || !name.includes("\\");
}

export const FORBIDDEN = ["__proto__", "constructor", "prototype"];
const text = fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.array(fc.nat(0xffff)).map(fromUnits));
export const key = fc
  .oneof(text, fc.constantFrom("", ".", "\\", "a.b", "0", "01", "-1", "value", "type", "toString", "then", "json"))
  .filter((name) => !FORBIDDEN.includes(name) && isReadable(name));

function fromUnits(units: number[]): string {
  return String.fromCharCode(...units);
}

const bytes = fc.uint8Array({ maxLength: 40 });
export const views = [
  ...[Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array],
  ...[BigInt64Array, BigUint64Array, Float32Array, Float64Array],
] as const;

/** Over bytes in which NaN has any payload, at any offset that the type allows. */
const view = fc.tuple(bytes, fc.constantFrom(...views), fc.nat(3)).map(([content, View, offset]) => {
  const start = offset * View.BYTES_PER_ELEMENT;
  const length = Math.max(0, Math.floor((content.length - start) / View.BYTES_PER_ELEMENT));
  return length === 0 ? new View(0) : new View(new Uint8Array(content).buffer, start, length);
});

export const leaf = fc.oneof(
  text,
  fc.double(),
  fc.constantFrom<unknown>(null, undefined, NaN, -0, 0, Infinity, -Infinity, true, false),
  fc.integer(),
  fc.bigInt(),
  fc.date({ noInvalidDate: true }),
  fc.webUrl().map((url) => new URL(url)),
  fc.constantFrom(/a\/b/g, /(?<x>.)\n/su, new RegExp("")).map((pattern) => new RegExp(pattern)),
  bytes.map((content) => Buffer.from(content)),
  bytes.map((content) => new Uint8Array(content).buffer),
  bytes.map((content) => new DataView(new Uint8Array(content).buffer, Math.min(1, content.length))),
  view,
);

type Container = "object" | "bare" | "array" | "map" | "set" | "error" | "customer";
type Slot = { leaf: unknown } | { node: number };
interface Node {
  container: Container;
  slots: [key: string, value: Slot, mapKey: Slot][];
}

const slot: fc.Arbitrary<Slot> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ leaf }) },
  { weight: 2, arbitrary: fc.record({ node: fc.nat(30) }) },
);
const node: fc.Arbitrary<Node> = fc.record({
  container: fc.constantFrom<Container[]>("object", "bare", "array", "map", "set", "error", "customer"),
  slots: fc.array(fc.tuple(key, slot, slot), { maxLength: 5 }),
});

/** Any graph over containers of every kind: shared, cyclic, disconnected. */
export const graph = fc.array(node, { minLength: 1, maxLength: 9 }).map((nodes): unknown[] => {
  const made = nodes.map(({ container }) => makeContainer(container));
  const read = (value: Slot) => ("node" in value ? made[value.node % made.length] : value.leaf);
  nodes.forEach(({ slots }, index) => {
    for (const [name, value, mapKey] of slots) fill(made[index]!, name, read(value), read(mapKey));
  });
  return [made[0], made.at(-1), made];
});

function makeContainer(container: Container): object {
  switch (container) {
    case "object":
      return {};
    case "bare":
      return Object.create(null) as object;
    case "array":
      return [];
    case "map":
      return new Map();
    case "set":
      return new Set();
    case "error":
      return new RangeError("x");
    case "customer":
      return new Customer();
  }
}

function fill(container: object, name: string, value: unknown, mapKey: unknown): void {
  if (Array.isArray(container)) container.push(value);
  else if (container instanceof Map) container.set(mapKey, value);
  else if (container instanceof Set) container.add(value);
  // A stack that is no text is not the engine's any more, and its own to keep.
  else if (!(container instanceof Error && name === "stack")) (container as Record<string, unknown>)[name] = value;
}
