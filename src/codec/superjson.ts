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

  return {
    name: options.name ?? "superjson",

    encode(args) {
      const walk = new Walk(carryAny);
      const json = walk.carry(args, undefined, "args");
      // What superjson makes of plain JSON, without its making it.
      if (!walk.isRich) return JSON.stringify({ json });
      const stored = (walk.hasCarried ? carrying : native).serialize(json);
      const values = stored.meta?.values;
      // Not its `referentialEqualities`: with identity carried, those are of equal NaNs and bigints alone, and applying
      // them moves NaN to the end of a Set and drops it from a Map.
      return JSON.stringify(
        values === undefined ? { json: stored.json } : { json: stored.json, meta: { values, v: 1 } },
      );
    },

    decode(text) {
      const stored = readStored(text);
      if (stored.meta === undefined) return stored.json;
      const references = checkAnnotations(stored, opaqueTypes);
      const args = carrying.deserialize<unknown[]>(stored as SuperJSONResult, { inPlace: true });
      if (references.length > 0) resolveReferences(args, references);
      return args;
    },
  };
}

export const superjsonCodec: Codec = createSuperjsonCodec();
