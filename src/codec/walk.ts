/** The walk over a call's arguments that refuses what would not come back, and gives superjson what will. */
import { types } from "node:util";
import { type Carried, carried, REFERENCE } from "./carried.js";
import { type Place, refuse, refusePlace, type Step, storedPathOf } from "./place.js";

/**
 * How deep arguments may be nested, the list of arguments included. Far beyond what calls carry, and less than half of
 * what superjson, which recurses, was seen to take on a default stack.
 *
 * @internal
 */
export const MAX_DEPTH = 500;

/** Refuses an object or returns what is stored in its place: often the object itself. */
export type Carry = (value: object, place: Place, walk: Walk) => unknown;

export class Walk {
  /** Met something that JSON alone would not bring back. */
  isRich = false;
  /** Met something that superjson alone would not bring back. */
  hasCarried = false;
  private readonly carryAny: Carry;
  private readonly outer: { walk: Walk; place: Place } | undefined;
  private readonly places = new Map<object, Place>();

  /** Inside of `outer`, objects met again are copied: a transformer makes of them what it likes. */
  constructor(carryAny: Carry, outer?: { walk: Walk; place: Place }) {
    this.carryAny = carryAny;
    this.outer = outer;
  }

  /** A walk over the data that stands for the object at `place`. */
  inside(place: Place): Walk {
    return new Walk(this.carryAny, { walk: this, place });
  }

  /** What is stored in the place of an object that superjson has no good form for. */
  carried(type: string, value: unknown, hidden?: readonly string[]): Carried {
    this.isRich = true;
    this.hasCarried = true;
    return carried(type, value, hidden);
  }

  carry(value: unknown, parent: Place | undefined, step: Step): unknown {
    switch (typeof value) {
      case "string":
      case "boolean":
        return value;
      case "number":
        if (!Number.isFinite(value) || Object.is(value, -0)) this.isRich = true;
        return value;
      case "undefined":
      case "bigint":
        this.isRich = true;
        return value;
      case "object":
        return value === null ? null : this.carryObject(value, parent, step);
      case "function":
        return refuse(parent, step, "is a function; pass data that says what to do");
      case "symbol":
        return refuse(parent, step, "is a symbol; pass a string");
    }
  }

  private carryObject(value: object, parent: Place | undefined, step: Step): unknown {
    if (this.outer !== undefined && this.isInside(value)) {
      refuse(parent, step, "refers back to an object that it is part of");
    }
    const met = this.places.get(value);
    if (met !== undefined) return this.carried(REFERENCE, storedPathOf(met));
    const place: Place = { parent, step, depth: ((parent ?? this.outer?.place)?.depth ?? 0) + 1 };
    if (place.depth > MAX_DEPTH) refusePlace(place, `is nested more than ${MAX_DEPTH} levels deep; pass flatter data`);
    // A proxy may answer differently each time: what was checked is not what is stored.
    if (types.isProxy(value)) refusePlace(place, "is a Proxy; pass a plain copy of it");
    this.places.set(value, place);
    const stored = this.carryAny(value, place, this);
    if (this.outer !== undefined) this.places.delete(value);
    return stored;
  }

  /** Whether the walk is inside of that object: this one, or the one around it on the way to what this one is about. */
  private isInside(value: object): boolean {
    if (this.outer === undefined) return false;
    if (this.places.has(value)) return true;
    const { walk, place } = this.outer;
    const met = walk.places.get(value);
    for (let at: Place | undefined = place; met !== undefined && at !== undefined; at = at.parent) {
      if (at === met) return true;
    }
    return walk.isInside(value);
  }
}
