import { describe, expect, it } from "vitest";
import { createSuperjsonCodec } from "../../src/codec.js";
import { difference, roundTrip } from "./support.js";

class Customer {
  name: string;
  friend?: unknown;
  constructor(name: string) {
    this.name = name;
  }
}

const codec = createSuperjsonCodec({ classes: [Customer] });

describe("what was one object is one object again", () => {
  const a = { name: "a" };
  const b = { name: "b" };
  const now = new Date(5);
  const bytes = Buffer.from("x");
  const error = new Error("x", { cause: a });
  const customer = Object.assign(new Customer("c"), { friend: a });
  const bare = Object.assign(Object.create(null) as object, { a });

  const table: readonly [name: string, args: unknown[]][] = [
    ["in two arguments", [a, a]],
    ["in fields and elements", [{ first: a, list: [b, a, b] }]],
    ["at a path that needs care", [{ "x.y": { "": a }, "0": [a], "a\\b": a }]],
    ["as members of a Set", [{ a, b, set: new Set([a, 5, b]) }]],
    ["as members of a Set, met there first", [new Set([a, 5, b]), b, a]],
    ["as members of two Sets", [new Set([a, b]), new Set([b, a])]],
    ["as keys of a Map", [{ a, b, map: new Map<unknown, unknown>([[a, 1], ["x", 2], [b, 3]]) }]], // prettier-ignore
    ["as keys of a Map, met there first", [new Map([[a, b], [b, a]]), a, b]], // prettier-ignore
    ["as values of a Map", [a, new Map([["x", a], ["y", a]])]], // prettier-ignore
    ["as a cause", [error, a, error]],
    ["as a cause, met before", [a, error]],
    ["in an object without a prototype", [bare, a, bare]],
    ["in an instance", [customer, a, customer]],
    ["in an instance, met before", [a, [customer], new Set([customer])]],
    ["a Date", [{ createdAt: now, updatedAt: now }]],
    ["a RegExp and a URL", [/x/g, new URL("http://x/")].flatMap((value) => [value, { value }])],
    ["bytes", [bytes, [bytes]]],
    ["met inside of another that is met twice", [{ other: a, pair: { a, b } }, b].flatMap((value) => [value, value])],
    ["a hundred times", Array.from({ length: 100 }, (_, index) => ({ index, a, set: new Set([index, a]) }))],
  ];

  it.each(table)("%s", (_name, args) => {
    const decoded = roundTrip(args, codec);
    expect(difference(decoded, args)).toBeUndefined();
  });

  it("and what were two equal objects are two", () => {
    const [first, second] = roundTrip([{ x: 1 }, { x: 1 }]);
    expect(first).not.toBe(second);
  });
});

describe("cycles", () => {
  it("through every kind of container", () => {
    const object: Record<string, unknown> = { at: new Date(1) };
    const array: unknown[] = [object];
    const map = new Map<unknown, unknown>([["array", array]]);
    const set = new Set<unknown>([1, map, 2]);
    const error = new Error("x", { cause: set });
    const bare = Object.assign(Object.create(null) as object, { error });
    const customer = new Customer("c");
    customer.friend = bare;
    object["customer"] = customer;
    map.set(map, map);
    set.add(set);
    map.set(customer, set);

    const args = [object, set];
    expect(difference(roundTrip(args, codec), args)).toBeUndefined();
  });

  it("of one object", () => {
    const self: Record<string, unknown> = {};
    self["self"] = self;
    const [decoded] = roundTrip([self]) as [Record<string, unknown>];
    expect(decoded["self"]).toBe(decoded);
  });

  it("through the list of arguments itself", () => {
    const args: unknown[] = [1];
    args.push({ args });
    const decoded = roundTrip(args);
    expect((decoded[1] as { args: unknown }).args).toBe(decoded);
  });

  it("of an error that is its own cause", () => {
    const error = new Error("x");
    error.cause = error;
    const [decoded] = roundTrip([error]) as [Error];
    expect(decoded.cause).toBe(decoded);
  });
});
