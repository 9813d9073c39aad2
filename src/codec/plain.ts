/** Objects that are nothing but their fields, and arrays. */
import { type Carried, fieldsOf } from "./carried.js";
import { type Place, refuse, refusePlace } from "./place.js";
import { type Carry, type Walk } from "./walk.js";

export const NULL_PROTOTYPE = "null-prototype";

type Fields = Record<string, unknown>;

/** Keys by which careless code that merges decoded arguments would reach a prototype. */
export function isPrototypeKey(key: string): boolean {
  return key === "__proto__" || key === "constructor" || key === "prototype";
}

export const carryObject: Carry = (value, place, walk) => {
  // Tells a Date or an Error apart whose prototype was exchanged; own symbols, which could lie here, are refused below.
  if (Object.prototype.toString.call(value) !== "[object Object]" && !hasSymbols(value)) {
    refusePlace(place, "is not the plain object that its prototype says; pass plain data");
  }
  return carryFields(value, place, walk);
};

/** The plain objects of another realm, such as a `vm` context, come back as plain objects of this one. */
export const carryForeignObject: Carry = (value, place, walk) => ({ ...carryFields(value, place, walk) });

export const carryNullPrototype: Carry = (value, place, walk): Carried =>
  walk.carried(NULL_PROTOTYPE, { ...carryFields(value, place, walk) });

export function reviveNullPrototype(value: unknown): object {
  return defineFields(Object.create(null) as object, fieldsOf(value, NULL_PROTOTYPE));
}

/** The object itself where each of its fields is stored as it is, else a plain copy. */
export function carryFields(value: object, place: Place, walk: Walk): Fields {
  const fields = value as Fields;
  let copy: Fields | undefined;
  for (const key of Reflect.ownKeys(value)) {
    if (typeof key === "symbol") return refuse(place, key, "has a symbol as its key, and would be lost; use a string");
    if (isPrototypeKey(key)) refuse(place, key, "is a key that could reach a prototype; rename it");
    const descriptor = Object.getOwnPropertyDescriptor(value, key)!;
    if (!descriptor.enumerable) refuse(place, key, "is not enumerable, and would be lost; pass plain data");
    if (descriptor.get !== undefined || descriptor.set !== undefined) {
      refuse(place, key, "is an accessor (get or set); pass an object with its value");
    }
    const stored = walk.carry(descriptor.value, place, key);
    if (stored === descriptor.value) continue;
    copy ??= { ...fields };
    copy[key] = stored;
  }
  return copy ?? fields;
}

export const carryArray: Carry = (value, place, walk) => {
  if (!Array.isArray(value)) return refusePlace(place, "has the prototype of an Array and is none; pass an array");
  const array = value as unknown[];
  // One name for each element, and `length`.
  if (hasSymbols(array) || Object.getOwnPropertyNames(array).length !== array.length + 1) refuseArray(array, place);
  // What was checked is what is stored, also for an element that is an accessor.
  const items = Array.prototype.slice.call(array) as unknown[];
  for (let index = 0; index < items.length; index++) {
    const item = items[index];
    if (item === undefined && !Object.hasOwn(items, index)) refuseArray(array, place);
    items[index] = walk.carry(item, place, index);
  }
  return items;
};

function refuseArray(array: unknown[], place: Place): never {
  for (let index = 0; index < array.length; index++) {
    if (!Object.hasOwn(array, index)) refuse(place, index, "is a hole of a sparse array; fill it, or pass undefined");
  }
  const own = Reflect.ownKeys(array);
  const extra = own.find((key) => key !== "length" && !isIndex(key, array.length));
  return refuse(place, extra!, "is a property put on an array, and would be lost; pass an object");
}

function isIndex(key: string | symbol, length: number): boolean {
  return typeof key === "string" && String(Number(key)) === key && Number(key) < length;
}

function hasSymbols(value: object): boolean {
  return Object.getOwnPropertySymbols(value).length > 0;
}

/** Refuses properties put on an object that comes back without them. `usual` are its kind's own. */
export function refuseExtras(value: object, place: Place, usual?: string): void {
  for (const key of Reflect.ownKeys(value)) {
    if (key === usual) continue;
    const kind = Object.prototype.toString.call(value).slice(8, -1);
    refuse(place, key, `is a property put on the ${kind}, and would be lost; pass it beside`);
  }
}

/** Defines rather than assigns: no setter of the target's class runs. */
export function defineFields(target: object, fields: Readonly<Fields>, hidden: readonly string[] = []): object {
  for (const key of Object.keys(fields)) {
    Object.defineProperty(target, key, {
      value: fields[key],
      enumerable: !hidden.includes(key),
      writable: true,
      configurable: true,
    });
  }
  return target;
}
