/**
 * Checks a stored payload before superjson acts on its annotations: anyone who can write to the table can write those.
 * Each must be of a known type and lead, through own properties alone, to something that is there.
 */
import { CARRIED, REFERENCE } from "./carried.js";
import { type StoredPath } from "./place.js";
import { isPrototypeKey } from "./plain.js";

/** The form that superjson gives values, of the version that escapes backslashes in paths. */
export interface Stored {
  json: unknown[];
  meta?: { values: object; v: 1 };
}

/** At `at`, what is at `to` belongs. */
export interface Reference {
  at: StoredPath;
  to: StoredPath;
}

const SIMPLE_TYPES: ReadonlySet<unknown> = new Set([
  "undefined",
  "bigint",
  "Date",
  "regexp",
  "set",
  "map",
  "number",
  "URL",
]);
/** Text without any of these cannot hold a key that reaches a prototype, however it is escaped. */
const SUSPICIOUS = /__proto__|constructor|prototype|\\u/;

/** @throws {Error} text that the codec has not written */
export function readStored(text: string): Stored {
  const stored = parse(text);
  if (!isObject(stored) || !Array.isArray(stored["json"])) throw new Error('it is not {"json": [arguments]}');
  if (SUSPICIOUS.test(text)) refusePrototypeKeys(stored);
  const { json, meta } = stored;
  if (!Object.hasOwn(stored, "meta")) return { json };
  if (!isObject(meta) || meta["v"] !== 1 || !isObject(meta["values"]) || Object.keys(meta).length !== 2) {
    throw new Error('its meta is not {"values": {…}, "v": 1}');
  }
  return { json, meta: { values: meta["values"], v: 1 } };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The error of JSON.parse quotes the text: arguments, which belong in no log.
    throw new Error("it is not JSON");
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refusePrototypeKeys(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, item] of Object.entries(value)) {
    if (isPrototypeKey(key)) throw new Error(`it has the key ${key}, which could reach a prototype`);
    refusePrototypeKeys(item);
  }
}

/** @throws {Error} an annotation that superjson would not have written for this JSON */
export function checkAnnotations({ json, meta }: Stored, opaqueTypes: ReadonlySet<string>): Reference[] {
  const check = new AnnotationCheck(opaqueTypes);
  check.children(meta!.values, { node: json, path: [], isCarried: false, isOpaque: false });
  return check.references;
}

/** A value of the JSON, and the path that it will have once what is carried has been made again. */
interface Spot {
  node: unknown;
  path: StoredPath;
  isCarried: boolean;
  isOpaque: boolean;
}

class AnnotationCheck {
  readonly references: Reference[] = [];
  private readonly annotated = new Set<unknown>();
  private readonly opaqueTypes: ReadonlySet<string>;

  constructor(opaqueTypes: ReadonlySet<string>) {
    this.opaqueTypes = opaqueTypes;
  }

  children(annotations: unknown, spot: Spot): void {
    if (!isObject(annotations)) throw new Error("an annotation is neither a list nor an object");
    for (const [path, annotation] of Object.entries(annotations)) this.annotation(annotation, this.follow(spot, path));
  }

  private annotation(annotation: unknown, spot: Spot): void {
    if (!Array.isArray(annotation)) return this.children(annotation, spot);
    const [type, children] = annotation as unknown[];
    const isCarried = isCarriedType(type);
    if (!isCarried && !SIMPLE_TYPES.has(type))
      throw new Error(`an annotation has the unknown type ${JSON.stringify(type)}`);
    if (typeof spot.node === "object" && spot.node !== null) this.annotated.add(spot.node);
    if (annotation.length > 2 || (children !== undefined && !isCarried && type !== "map" && type !== "set")) {
      throw new Error("an annotation has more than a type and children");
    }
    const isOpaque = (isCarried && this.carried(spot, children !== undefined)) || spot.isOpaque;
    if (children !== undefined) this.children(children, { ...spot, isCarried, isOpaque });
  }

  /** Whether what is inside is a transformer's own. */
  private carried(spot: Spot, hasChildren: boolean): boolean {
    const { node } = spot;
    if (!isObject(node) || !Object.hasOwn(node, "type") || typeof node["type"] !== "string") {
      throw new Error("what is annotated as carried names no type");
    }
    if (node["type"] !== REFERENCE) return this.opaqueTypes.has(node["type"]);
    const to = node["value"];
    if (hasChildren || spot.isOpaque || !isStoredPath(to)) throw new Error("a reference is not one");
    this.references.push({ at: spot.path, to });
    return false;
  }

  private follow(from: Spot, escaped: string): Spot {
    let { node, isCarried } = from;
    const path = [...from.path];
    for (const segment of splitPath(escaped)) {
      // superjson would look for the rest of the path in what the annotation before has made of this.
      if (node !== from.node && this.annotated.has(node)) throw new Error("annotations overlap");
      if (typeof node !== "object" || node === null || !isOwnKey(node, segment)) {
        throw new Error("an annotation leads to nothing");
      }
      if (isCarried && segment !== "value") throw new Error("an annotation leads past what is carried");
      if (!isCarried) path.push(Array.isArray(node) ? Number(segment) : segment);
      node = (node as Record<string, unknown>)[segment];
      isCarried = false;
    }
    return { node, path, isCarried, isOpaque: from.isOpaque };
  }
}

function isCarriedType(type: unknown): boolean {
  return Array.isArray(type) && type.length === 2 && type[0] === "custom" && type[1] === CARRIED;
}

function isStoredPath(value: unknown): value is StoredPath {
  return Array.isArray(value) && value.every((step) => typeof step === "string" || typeof step === "number");
}

function isOwnKey(node: object, segment: string): boolean {
  if (Array.isArray(node)) return String(Number(segment)) === segment && Object.hasOwn(node, segment);
  return Object.hasOwn(node, segment);
}

/** Keys are joined by dots; `\\.` and `\\\\` stand for a dot and a backslash inside of a key. */
function splitPath(escaped: string): string[] {
  const segments: string[] = [];
  let segment = "";
  for (let index = 0; index < escaped.length; index++) {
    let char = escaped[index]!;
    if (char === ".") {
      segments.push(segment);
      segment = "";
      continue;
    }
    if (char === "\\") {
      char = escaped[++index] ?? "";
      if (char !== "." && char !== "\\") throw new Error("the path of an annotation is escaped wrongly");
    }
    segment += char;
  }
  return [...segments, segment];
}
