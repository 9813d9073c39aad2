import SuperJSON, { type SuperJSONResult } from "superjson";
import { type Codec } from "../types.js";
import { CARRIED, type Carried, isCarried, revive } from "./carried.js";
import { createKinds, type Registrations } from "./kinds.js";
import { resolveReferences } from "./references.js";
import { checkAnnotations, readStored } from "./stored.js";
import { Walk } from "./walk.js";

/** What `createSuperjsonCodec` takes. */
export interface SuperjsonCodecOptions extends Registrations {
  /** Stored with each call, and must be known when it runs. (Default: `superjson`) */
  name?: string;
  /**
   * Classes whose instances may be arguments, errors among them: they come back as instances of the class with the same
   * fields, and no constructor runs. Instances of subclasses are refused unless those are registered too. A class with
   * private (`#`) fields, or one that extends Map, Date or Array, needs a transformer instead. (Default: none)
   */
  classes?: Registrations["classes"];
  /** For what is more than its fields. (Default: none) */
  transformers?: Registrations["transformers"];
}

/**
 * The codec that outboxes use unless told otherwise, with classes and transformers of your own.
 *
 * Arguments come back equal, by value and type: plain data, `undefined`, NaN, -0, bigints, Date, Map, Set, URL, RegExp
 * (its `lastIndex` as 0), Buffer, every typed array, ArrayBuffer, DataView (each with bytes of its own), errors of the
 * built-in classes with stack and cause, objects without a prototype. What was one object is one object again, cycles
 * included. Frozen objects come back unfrozen. Anything else is refused by its path when the call is saved: functions,
 * class instances that are not registered, accessors, symbols, sparse arrays, more than 500 levels of nesting.
 *
 * @throws {InvalidOptionError} a registration that cannot be used
 */
export function createSuperjsonCodec(options: SuperjsonCodecOptions = {}): Codec {
  const { carryAny, revivers, opaqueTypes } = createKinds(options);
  // Asking every value whether it is carried makes superjson twice as slow: only who carries something pays for it.
  const native = new SuperJSON();
  const carrying = new SuperJSON();
  carrying.registerCustom<Carried, never>(
    {
      isApplicable: isCarried,
      serialize: (value) => value as never,
      deserialize: (stored) => revive(stored, revivers) as Carried,
    },
    CARRIED,
  );

  const encode = (args: readonly unknown[]): Encoded => {
    const walk = new Walk(carryAny);
    const json = walk.carry(args, undefined, "args");
    // What superjson makes of plain JSON, without its making it.
    if (!walk.isRich) return { text: JSON.stringify({ json }), isPlain: !isJsonCustomised() };
    return { text: encodeRich(json, walk.hasCarried ? carrying : native), isPlain: false };
  };
  const codec: Codec = {
    name: options.name ?? "superjson",
    encode: (args) => encode(args).text,

    decode(text) {
      const stored = readStored(text);
      if (stored.meta === undefined) return stored.json;
      const references = checkAnnotations(stored, opaqueTypes);
      const args = carrying.deserialize<unknown[]>(stored as SuperJSONResult, { inPlace: true });
      if (references.length > 0) resolveReferences(args, references);
      return args;
    },
  };
  own.set(codec, { encode, methods: { ...codec } });
  return codec;
}

function encodeRich(json: unknown, superjson: SuperJSON): string {
  const stored = superjson.serialize(json);
  const values = stored.meta?.values;
  // Not its `referentialEqualities`: with identity carried, those are of equal NaNs and bigints alone, and applying
  // them moves NaN to the end of a Set and drops it from a Map.
  return JSON.stringify(values === undefined ? { json: stored.json } : { json: stored.json, meta: { values, v: 1 } });
}

/** What was encoded, and how sure it is. */
export interface Encoded {
  text: string;
  /** Was found to be JSON and nothing more, which comes back as it is. */
  isPlain: boolean;
}

/** By codec of ours; with its methods, since anyone may replace them. */
const own = new WeakMap<Codec, { encode: (args: readonly unknown[]) => Encoded; methods: Codec }>();

/** Encodes, and tells what needs no proof that it can be decoded. */
export function encodeWith(codec: Codec, args: readonly unknown[]): Encoded {
  const known = own.get(codec);
  const isOurs = known?.methods.encode === codec.encode && known.methods.decode === codec.decode;
  return isOurs ? known.encode(args) : { text: codec.encode(args), isPlain: false };
}

/** Some libraries of old give every array or object a `toJSON`. */
function isJsonCustomised(): boolean {
  return "toJSON" in Array.prototype || "toJSON" in Object.prototype;
}

export const superjsonCodec: Codec = createSuperjsonCodec();
