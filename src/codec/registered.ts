/** What users register with the codec: classes by their fields, and transformers for whatever is more than its fields. */
import { InvalidOptionError } from "../errors.js";
import { fieldsOf, type Reviver } from "./carried.js";
import { carryError, reviveError } from "./error.js";
import { type Place, refusePlace } from "./place.js";
import { carryFields, defineFields } from "./plain.js";
import { type Carry } from "./walk.js";

/** A class, as the codec sees it: its constructor is never called. */
export interface AnyClass {
  readonly name: string;
  readonly prototype: object;
}

/** A class whose instances may be arguments, where the class alone does not say enough. */
export interface ClassRegistration {
  /** Its constructor is never called. */
  class: AnyClass;
  /** Stored with each instance: keep it when the class is renamed. (Default: the class's own, of at least 3 characters) */
  name?: string;
  /** The fields that are stored. The others are left out on purpose, and missing from what comes back. (Default: all) */
  fields?: readonly string[];
}

/** Stores what its fields alone do not bring back: a `Decimal`, a `Temporal.Instant`, a class with private fields. */
export interface Transformer<Value extends object = object, Data = unknown> {
  /** Stored with each value. */
  name: string;
  /** Asked for every object that is neither plain nor an array, before what the codec would do itself. */
  isApplicable(value: object): boolean;
  /** What to store: anything that the codec can store. What is met twice in it comes back as copies. */
  serialize(value: Value): Data;
  deserialize(data: Data): Value;
}

/** Names of fewer characters are what bundlers make. */
const SHORTEST_CLASS_NAME = 3;

/** Built-in classes with content that is in no field. */
const WITH_HIDDEN_CONTENT = [
  Array,
  ArrayBuffer,
  Boolean,
  DataView,
  Date,
  Function,
  Map,
  Number,
  Promise,
  RegExp,
  Set,
  SharedArrayBuffer,
  String,
  URL,
  WeakMap,
  WeakRef,
  WeakSet,
  Object.getPrototypeOf(Uint8Array) as AnyClass,
];

export interface NamedClass {
  readonly name: string;
  readonly prototype: object;
  readonly fields: readonly string[] | undefined;
}

/** @throws {InvalidOptionError} a registration that could not bring instances back */
export function readClass(registration: AnyClass | ClassRegistration, option: string): NamedClass {
  const { class: registered, name, fields } = asRegistration(registration, option);
  const prototype: unknown = registered.prototype;
  if (typeof prototype !== "object" || prototype === null) throw new InvalidOptionError(option, WRONG_CLASS);
  if (prototype === Object.prototype) throw new InvalidOptionError(option, "is Object, which needs no registering");
  const parent = WITH_HIDDEN_CONTENT.find((known) => known.prototype === prototype || extendsClass(prototype, known));
  if (parent !== undefined) {
    throw new InvalidOptionError(
      option,
      `is or extends ${parent.name}, which is more than its fields; describe it in \`transformers\``,
    );
  }
  if (fields !== undefined && isErrorPrototype(prototype)) {
    throw new InvalidOptionError(`${option}.fields`, "must be left out for an error, which is stored whole");
  }
  return { name: name ?? ownName(registered, option), prototype, fields };
}

const WRONG_CLASS = "must be a class, or {class, name?, fields?}";

function asRegistration(registration: unknown, option: string): ClassRegistration {
  if (typeof registration === "function") return { class: registration };
  const { class: registered } = (registration ?? {}) as Partial<ClassRegistration>;
  if (typeof registered !== "function") throw new InvalidOptionError(option, WRONG_CLASS);
  return registration as ClassRegistration;
}

function ownName({ name }: AnyClass, option: string): string {
  if (name.length >= SHORTEST_CLASS_NAME) return name;
  const problem = `is a class named ${JSON.stringify(name)}, which may be a bundler's name for it; pass {class, name}`;
  throw new InvalidOptionError(option, problem);
}

function extendsClass(prototype: object, parent: AnyClass): boolean {
  return Object.prototype.isPrototypeOf.call(parent.prototype, prototype);
}

function isErrorPrototype(prototype: object): boolean {
  return prototype === Error.prototype || extendsClass(prototype, Error);
}

export function carryInstance({ name, prototype, fields }: NamedClass): Carry {
  if (isErrorPrototype(prototype)) return carryError(name);
  return (value, place, walk) => {
    const stored = fields === undefined ? value : pick(value, fields);
    return walk.carried(name, { ...carryFields(stored, place, walk) });
  };
}

export function reviveInstance({ name, prototype }: NamedClass): Reviver {
  if (isErrorPrototype(prototype)) return reviveError(name, prototype);
  // No constructor and no setter runs: what comes back has the fields that went in.
  return (value) => defineFields(Object.create(prototype) as object, fieldsOf(value, name));
}

function pick(value: object, fields: readonly string[]): object {
  const picked = {};
  for (const field of fields) {
    const descriptor = Object.getOwnPropertyDescriptor(value, field);
    if (descriptor !== undefined) Object.defineProperty(picked, field, descriptor);
  }
  return picked;
}

/** @throws {InvalidOptionError} a transformer with a part missing */
export function checkTransformer(transformer: Transformer, option: string): void {
  const { name, isApplicable, serialize, deserialize } = (transformer ?? {}) as Partial<
    Record<keyof Transformer, unknown>
  >;
  if (typeof name !== "string" || name === "")
    throw new InvalidOptionError(`${option}.name`, "must be a text, not empty");
  for (const [part, given] of Object.entries({ isApplicable, serialize, deserialize })) {
    if (typeof given !== "function") throw new InvalidOptionError(`${option}.${part}`, "must be a function");
  }
}

export function isApplicable(transformer: Transformer, value: object, place: Place): boolean {
  try {
    return transformer.isApplicable(value);
  } catch (error) {
    return refusePlace(place, `made isApplicable of the transformer ${transformer.name} throw`, { cause: error });
  }
}

export function carryTransformed(transformer: Transformer): Carry {
  return (value, place, walk) => {
    let stored: unknown;
    try {
      stored = walk.inside(place).carry(transformer.serialize(value), undefined, "data");
    } catch (error) {
      const reason = error instanceof Error ? error.message : "it threw no error";
      refusePlace(place, `could not be stored by its transformer ${transformer.name}: ${reason}`, { cause: error });
    }
    return walk.carried(transformer.name, stored);
  };
}
