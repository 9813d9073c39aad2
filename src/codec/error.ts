/** Errors, with all that they have of their own: message, stack, cause, code. */
import { types } from "node:util";
import { fieldsOf, type Reviver } from "./carried.js";
import { refuse, refusePlace } from "./place.js";
import { defineFields, isPrototypeKey } from "./plain.js";
import { type Carry } from "./walk.js";

export const BUILT_IN_ERRORS = [
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  EvalError,
  URIError,
  AggregateError,
];

export function carryError(type: string): Carry {
  return (value, place, walk) => {
    if (!types.isNativeError(value)) return refusePlace(place, `has the prototype of ${type} and is none; pass one`);
    const fields: Record<string, unknown> = {};
    const hidden: string[] = [];
    for (const key of Reflect.ownKeys(value)) {
      if (typeof key === "symbol")
        return refuse(place, key, "has a symbol as its key, and would be lost; use a string");
      if (isPrototypeKey(key)) refuse(place, key, "is a key that could reach a prototype; rename it");
      const descriptor = Object.getOwnPropertyDescriptor(value, key)!;
      // The stack is text however the engine keeps it.
      const isAccessor = key !== "stack" && (descriptor.get !== undefined || descriptor.set !== undefined);
      if (isAccessor) refuse(place, key, "is an accessor (get or set); pass an error with its value");
      fields[key] = walk.carry(key === "stack" ? value.stack : descriptor.value, place, key);
      if (!descriptor.enumerable) hidden.push(key);
    }
    return walk.carried(type, fields, hidden);
  };
}

export function reviveError(type: string, prototype: object): Reviver {
  return (value, hidden) => {
    const { stack, ...others } = fieldsOf(value, type);
    // Only a constructor of Error makes what tools take for one; which one does not matter.
    const error = new Error();
    Object.setPrototypeOf(error, prototype);
    // Newer engines keep the stack behind an accessor of the error's own, which is to stay.
    if (Object.hasOwn(value as object, "stack")) error.stack = stack as string;
    else Reflect.deleteProperty(error, "stack");
    return defineFields(error, others, hidden);
  };
}
