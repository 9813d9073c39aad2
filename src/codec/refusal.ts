/** Says why an object of no supported kind is refused, and what to pass instead. */
import { types } from "node:util";

export function problemOf(value: object): string {
  const name = classNameOf(value);
  if (types.isPromise(value)) return "is a promise; await it before the call";
  if (hasMethod(value, "then")) return `is a thenable${inBrackets(name)}; await it before the call`;
  if (types.isBoxedPrimitive(value)) return "is a boxed primitive; pass the primitive itself";
  if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) {
    return `holds its content weakly${inBrackets(name)}; pass the content`;
  }
  if (value instanceof SharedArrayBuffer) return "is shared memory (SharedArrayBuffer); pass a copy";
  if (hasMethod(value, "pipe") || hasMethod(value, "getReader")) {
    return `is a stream${inBrackets(name)}; pass its content, or where to find it`;
  }
  if (hasMethod(value, "next")) return `is an iterator${inBrackets(name)}; pass an array of its values`;
  if (isOfAnotherRealm(value)) return `is a ${name} of another realm, such as a vm context; make it in this one`;
  if (name === undefined) return "has a prototype that is no class's; pass plain data";
  return `is a class instance (${name}); pass plain data or register it with the codec`;
}

function inBrackets(name: string | undefined): string {
  return name === undefined || name === "Object" ? "" : ` (${name})`;
}

/** Of the prototype's own constructor: one that is inherited says nothing about `Object.create(settings)`. */
function classNameOf(value: object): string | undefined {
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === null || types.isProxy(prototype)) return undefined;
  const constructor: unknown = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
  if (typeof constructor !== "function") return undefined;
  const name: unknown = Object.getOwnPropertyDescriptor(constructor, "name")?.value;
  return typeof name === "string" && name !== "" ? name : "anonymous";
}

/** A getter that throws is no method. */
function hasMethod(value: object, name: string): boolean {
  try {
    return typeof (value as Record<string, unknown>)[name] === "function";
  } catch {
    return false;
  }
}

function isOfAnotherRealm(value: object): boolean {
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  const own: unknown = (globalThis as Record<string, unknown>)[kind];
  return classNameOf(value) === kind && typeof own === "function" && !(value instanceof own);
}
