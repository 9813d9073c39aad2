/**
 * What superjson has no good form for is carried: replaced by an object that names its type and holds its content, which
 * superjson stores as it would any other. Object identity is carried as well, as references: superjson's own annotations
 * reorder Sets, lose Map entries, and do not reach into errors and class instances.
 */
/** The name of the one custom transformer that is registered with superjson. */
export const CARRIED = "carried";
export const REFERENCE = "reference";

/** Has no prototype: that is how it is known, since every such object of the caller is itself carried. */
export interface Carried {
  type: string;
  value: unknown;
  /** The fields of `value` that are not enumerable on what is carried. */
  hidden?: readonly string[];
}

/** Makes the value again. Throws for a content that it would never have been given. */
export type Reviver = (value: unknown, hidden: readonly string[]) => unknown;

export function carried(type: string, value: unknown, hidden?: readonly string[]): Carried {
  const made = Object.create(null) as Carried;
  made.type = type;
  made.value = value;
  if (hidden !== undefined) made.hidden = hidden;
  return made;
}

export function isCarried(value: unknown): value is Carried {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === null;
}

/** Stands in a decoded graph until the references are resolved. */
export class Placeholder {
  readonly standsFor = REFERENCE;
}

export function revive(stored: unknown, revivers: ReadonlyMap<string, Reviver>): unknown {
  const { type, value, hidden = [] } = stored as Carried;
  if (type === REFERENCE) return new Placeholder();
  const reviver = revivers.get(type);
  if (reviver === undefined) {
    throw new Error(`the type ${JSON.stringify(type)} is not registered with the codec`);
  }
  if (!Array.isArray(hidden)) throw new Error(`the hidden fields of ${type} are not a list`);
  return reviver(value, hidden as readonly string[]);
}

/** The fields of a carried object; a value of another shape is refused. */
export function fieldsOf(value: unknown, type: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) {
    throw new Error(`the content of ${type} is not an object`);
  }
  return value as Record<string, unknown>;
}
