/** Every kind of object that the codec knows: how each is carried, and how it is made again. */
import { InvalidOptionError } from "../errors.js";
import { bytesCarries, bytesRevivers } from "./bytes.js";
import { REFERENCE, type Reviver } from "./carried.js";
import { carryMap, carrySet } from "./collections.js";
import { BUILT_IN_ERRORS, carryError, reviveError } from "./error.js";
import { carryDate, carryRegExp, carryUrl } from "./leaves.js";
import { refusePlace } from "./place.js";
import {
  carryArray,
  carryForeignObject,
  carryNullPrototype,
  carryObject,
  NULL_PROTOTYPE,
  reviveNullPrototype,
} from "./plain.js";
import { problemOf } from "./refusal.js";
import {
  type AnyClass,
  carryInstance,
  carryTransformed,
  checkTransformer,
  type ClassRegistration,
  isApplicable,
  readClass,
  reviveInstance,
  type Transformer,
} from "./registered.js";
import { type Carry } from "./walk.js";

export interface Registrations {
  classes?: readonly (AnyClass | ClassRegistration)[];
  transformers?: readonly Transformer[];
}

export interface Kinds {
  carryAny: Carry;
  revivers: ReadonlyMap<string, Reviver>;
  /** Types whose content is handed to a transformer, which keeps of it what it likes. */
  opaqueTypes: ReadonlySet<string>;
}

/** @throws {InvalidOptionError} a registration that cannot be used, or a name that is taken */
export function createKinds({ classes = [], transformers = [] }: Registrations): Kinds {
  const carries = new Map<object, Carry>([
    [Map.prototype, carryMap],
    [Set.prototype, carrySet],
    [Date.prototype, carryDate],
    [RegExp.prototype, carryRegExp],
    [URL.prototype, carryUrl],
    ...bytesCarries,
    ...BUILT_IN_ERRORS.map(({ name, prototype }) => [prototype, carryError(name)] as const),
  ]);
  const revivers = new Map<string, Reviver>([
    [REFERENCE, () => undefined],
    [NULL_PROTOTYPE, reviveNullPrototype],
    ...bytesRevivers,
    ...BUILT_IN_ERRORS.map(({ name, prototype }) => [name, reviveError(name, prototype)] as const),
  ]);

  const addReviver = (name: string, reviver: Reviver, option: string): void => {
    if (revivers.has(name))
      throw new InvalidOptionError(option, `has the name ${JSON.stringify(name)}, which is taken`);
    revivers.set(name, reviver);
  };
  for (const [index, registration] of classes.entries()) {
    const option = `classes[${index}]`;
    const named = readClass(registration, option);
    if (carries.has(named.prototype))
      throw new InvalidOptionError(option, `is ${named.name}, which the codec knows already`);
    addReviver(named.name, reviveInstance(named), option);
    carries.set(named.prototype, carryInstance(named));
  }
  const transformed = transformers.map((transformer, index) => {
    const option = `transformers[${index}]`;
    checkTransformer(transformer, option);
    addReviver(transformer.name, (data) => transformer.deserialize(data), option);
    return { transformer, carry: carryTransformed(transformer) };
  });

  const carryAny: Carry = (value, place, walk) => {
    const prototype = Object.getPrototypeOf(value) as object | null;
    if (prototype === Object.prototype) return carryObject(value, place, walk);
    if (prototype === Array.prototype) return carryArray(value, place, walk);
    if (prototype === null) return carryNullPrototype(value, place, walk);
    for (const { transformer, carry } of transformed) {
      if (isApplicable(transformer, value, place)) return carry(value, place, walk);
    }
    const carry = carries.get(prototype) ?? findForeignCarry(value, prototype);
    return carry === undefined ? refusePlace(place, problemOf(value)) : carry(value, place, walk);
  };
  return { carryAny, revivers, opaqueTypes: new Set(transformers.map(({ name }) => name)) };
}

/**
 * Plain objects and arrays of another realm are data like any other: under Jest, whose tests run in a `vm` context, the
 * JSON of a fetched response is of the outer realm.
 */
function findForeignCarry(value: object, prototype: object): Carry | undefined {
  if (Array.isArray(value)) return isRootArrayPrototype(prototype) ? carryArray : undefined;
  const isRootPrototype = Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
  return isRootPrototype ? carryForeignObject : undefined;
}

/** `Array.prototype` is itself an array; the prototype of a class that extends Array is not. */
function isRootArrayPrototype(prototype: object): boolean {
  return Array.isArray(prototype);
}
