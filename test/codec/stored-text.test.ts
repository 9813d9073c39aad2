import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodePayload, encodeArguments } from "../../src/codec.js";
import { Placeholder } from "../../src/codec/carried.js";
import { UndecodablePayloadError } from "../../src/errors.js";
import { codec, Customer, graph, isReadable } from "./arbitraries.js";

const RUNS = 250;

const PROTOTYPES = [Object, Array, Function, Map, Set, Date, RegExp, Error, URL, Buffer, Customer].map(
  ({ prototype }) => prototype as object,
);
const BEFORE = allProperties();

function allProperties(): unknown[] {
  return PROTOTYPES.flatMap((prototype) =>
    Reflect.ownKeys(prototype).flatMap((name) => {
      const own = Object.getOwnPropertyDescriptor(prototype, name)!;
      return [name, own.value as unknown, own.get, own.set];
    }),
  );
}

function areUntouched(): boolean {
  const now = allProperties();
  return now.length === BEFORE.length && now.every((part, index) => Object.is(part, BEFORE[index]));
}

/** Decodes or throws the one error that it may throw; whatever came out is data, and no prototype has changed. */
function decodesOrRefuses(payload: string): void {
  let decoded: unknown[] = [];
  try {
    decoded = decodePayload(codec, payload);
  } catch (error) {
    expect(error).toBeInstanceOf(UndecodablePayloadError);
  }
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  expect(areUntouched()).toBe(true);
  expect(isData(decoded, new Set())).toBe(true);
}

function isData(value: unknown, seen: Set<unknown>): boolean {
  if (typeof value === "function" || PROTOTYPES.includes(value as object)) return false;
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || seen.has(value)) return true;
  seen.add(value);
  if (value instanceof Placeholder) return false;
  const held: unknown[] = value instanceof Map || value instanceof Set ? [...value].flat() : [];
  const own = Reflect.ownKeys(value).map((name) => Object.getOwnPropertyDescriptor(value, name)!.value as unknown);
  return [...held, ...own].every((item) => isData(item, seen));
}

describe("any stored text at all", () => {
  const hostileKey = fc
    .constantFrom(
      ...["__proto__", "constructor", "prototype", "polluted", "toString", "0", "1", "value", "type", "hidden"],
      ...["json", "meta", "values", "v", "referentialEqualities", "a", "a.b", "0.a", "0.__proto__.polluted", "0.value"],
      ...["0.constructor.prototype.polluted", "0.value.a", "0.0.1", "\\", "0.\\.", "length"],
    )
    .filter(isReadable);
  const hostileLeaf = fc.constantFrom<unknown>(
    ...[["set"], ["map"], ["Date"], ["undefined"], ["bigint"], ["regexp"], ["number"], ["URL"], ["Error"]],
    ...[[["custom", "carried"]], [["class", "Customer"]], [["custom", "__proto__"]], ["__proto__"], ["toString"]],
    ...[
      { type: "reference", value: [0] },
      { type: "reference", value: [0, "__proto__"] },
      { type: "Error", value: {} },
    ],
    ...[
      { type: "Customer", value: {} },
      { type: "Money", value: "1" },
      { type: "Buffer", value: "AA==" },
    ],
    ...[null, 1, -1, 1e9, "", "x", "/x/g", "__proto__", [], {}],
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      hostileLeaf,
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.array(fc.tuple(hostileKey, tie("tree")), { maxLength: 3 }).map((entries) => Object.fromEntries(entries)),
    ),
  }));

  it("is decoded or refused: text", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          tree.map((value) => JSON.stringify(value)),
        ),
        (payload) => {
          decodesOrRefuses(payload);
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("is decoded or refused: annotations made up", () => {
    fc.assert(
      fc.property(fc.array(tree, { maxLength: 3 }), tree, fc.boolean(), (json, values, isWhole) => {
        decodesOrRefuses(JSON.stringify({ json, meta: isWhole ? { values, v: 1 } : values }));
      }),
      { numRuns: 2 * RUNS },
    );
  });

  it("is decoded or refused: stored text with a part exchanged", () => {
    fc.assert(
      fc.property(graph, tree, hostileKey, fc.nat(), fc.boolean(), (args, part, name, at, isKey) => {
        const stored: unknown = JSON.parse(encodeArguments(codec, args));
        const spots = spotsOf(stored);
        const { holder, key: spot } = spots[at % spots.length]!;
        if (isKey && !Array.isArray(holder)) define(holder, name, holder[spot]);
        else define(holder, spot, part);
        decodesOrRefuses(JSON.stringify(stored));
      }),
      { numRuns: 2 * RUNS },
    );
  });

  it("is decoded or refused: stored text with characters changed", () => {
    fc.assert(
      fc.property(
        graph,
        fc.nat(),
        fc.nat(8),
        fc.string({ maxLength: 4 }).filter(isReadable),
        (args, at, length, inserted) => {
          const stored = encodeArguments(codec, args);
          const start = at % stored.length;
          decodesOrRefuses(stored.slice(0, start) + inserted + stored.slice(start + length));
        },
      ),
      { numRuns: 2 * RUNS },
    );
  });
});

function define(holder: object, name: string, value: unknown): void {
  Object.defineProperty(holder, name, { value, enumerable: true, writable: true, configurable: true });
}

function spotsOf(value: unknown): { holder: Record<string, unknown>; key: string }[] {
  if (typeof value !== "object" || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((name) => [{ holder, key: name }, ...spotsOf(holder[name])]);
}
