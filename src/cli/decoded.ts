import { inspect } from "node:util";
import { harmless } from "./text.js";

/** Of decoded arguments: one below the other, as Node.js would print them, what is large cut. */
export function textOf(args: readonly unknown[]): string {
  const copy = new Copy(FOR_TEXT);
  const texts = args.map((arg, at) => `[${at}] ${harmless(inspect(copy.of(arg), INSPECTION))}`);
  if (copy.isCut) texts.push("(… stands for what was cut: --json shows it)");
  return texts.join("\n");
}

/** JSON has no form for dates, maps, … : they are texts and arrays. */
export function jsonOf(args: readonly unknown[]): unknown[] {
  const copy = new Copy(FOR_JSON);
  return args.map((arg) => copy.of(arg) ?? null);
}

const INSPECTION = {
  depth: Infinity,
  maxArrayLength: Infinity,
  maxStringLength: Infinity,
  breakLength: 96,
  customInspect: false,
};

interface Form {
  isJson: boolean;
  mostValues: number;
  deepest: number;
  longestString: number;
}

const FOR_TEXT: Form = { isJson: false, mostValues: 2000, deepest: 12, longestString: 2000 };
/** Values more than fit into a payload, unless they are shared; no deeper than JSON.stringify can go. */
const FOR_JSON: Form = { isJson: true, mostValues: 1_000_000, deepest: 500, longestString: Infinity };

/** A copy of bounded size: what is shared is copied wherever it stands, which could go on for ever. */
class Copy {
  isCut = false;
  readonly #form: Form;
  readonly #above = new Set<object>();
  #values = 0;

  constructor(form: Form) {
    this.#form = form;
  }

  of(value: unknown): unknown {
    if (typeof value !== "object" || value === null) return this.#leaf(value);
    if (value instanceof URL) return value.href;
    if (value instanceof Date && this.#form.isJson) return shownDate(value);
    if (value instanceof RegExp && this.#form.isJson) return String(value);
    if (value instanceof Date || value instanceof RegExp) return value;
    if (this.#above.has(value)) return "[circular]";
    if (this.#above.size >= this.#form.deepest) return this.#cut();
    this.#above.add(value);
    const copied = this.#parts(value);
    this.#above.delete(value);
    return copied;
  }

  #leaf(value: unknown): unknown {
    const { isJson, longestString } = this.#form;
    if (typeof value === "string" && value.length > longestString) {
      return `${value.slice(0, longestString).toWellFormed()}${this.#cut()}`;
    }
    if (!isJson) return value;
    if (typeof value === "bigint") return String(value);
    if (Object.is(value, -0)) return "-0";
    return typeof value !== "number" || Number.isFinite(value) ? value : String(value);
  }

  #parts(value: object): unknown {
    if (value instanceof Map) {
      const entries = this.#list(value);
      return this.#form.isJson ? entries : new Map(entries.map(toEntry));
    }
    if (value instanceof Set) return this.#form.isJson ? this.#list(value) : new Set(this.#list(value));
    if (Array.isArray(value)) return this.#list(value);
    if (ArrayBuffer.isView(value)) return this.#list(value as Uint8Array);
    if (!(value instanceof Error)) return this.#object(value);
    const { name, message, cause } = value;
    return this.#object({ name, message, ...(cause === undefined ? {} : { cause }), ...ownParts(value) });
  }

  #list(values: Iterable<unknown>): unknown[] {
    const copied: unknown[] = [];
    for (const value of values) {
      const isLast = (this.#values += 1) > this.#form.mostValues;
      copied.push(isLast ? this.#cut() : this.of(value));
      if (isLast) break;
    }
    return copied;
  }

  #object(value: object): object {
    const copied: [string, unknown][] = [];
    for (const [name, part] of Object.entries(value)) {
      const isLast = (this.#values += 1) > this.#form.mostValues;
      copied.push([isLast ? "…" : name, isLast ? this.#cut() : this.of(part)]);
      if (isLast) break;
    }
    return Object.fromEntries(copied);
  }

  #cut(): string {
    this.isCut = true;
    return "…";
  }
}

function toEntry(entry: unknown): [unknown, unknown] {
  return Array.isArray(entry) ? [entry[0], entry[1]] : [entry, entry];
}

function ownParts(value: object): object {
  return Object.fromEntries(Object.entries(value));
}

function shownDate(date: Date): string {
  return Number.isNaN(date.getTime()) ? String(date) : date.toISOString();
}
