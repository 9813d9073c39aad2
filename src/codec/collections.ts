/** Maps and Sets, which superjson brings back as long as nothing in them is shared. */
import { types } from "node:util";
import { refusePlace } from "./place.js";
import { refuseExtras } from "./plain.js";
import { type Carry } from "./walk.js";

export const carryMap: Carry = (value, place, walk) => {
  if (!types.isMap(value)) return refusePlace(place, "has the prototype of a Map and is none; pass a Map");
  refuseExtras(value, place);
  walk.isRich = true;
  const entries: [unknown, unknown][] = [];
  let isChanged = false;
  for (const [key, item] of value) {
    const index = entries.length;
    const entry: [unknown, unknown] = [
      walk.carry(key, place, { of: "map", part: "key", index }),
      walk.carry(item, place, { of: "map", part: "value", index }),
    ];
    isChanged ||= entry[0] !== key || entry[1] !== item;
    entries.push(entry);
  }
  return isChanged ? new Map(entries) : value;
};

export const carrySet: Carry = (value, place, walk) => {
  if (!types.isSet(value)) return refusePlace(place, "has the prototype of a Set and is none; pass a Set");
  refuseExtras(value, place);
  walk.isRich = true;
  const items: unknown[] = [];
  let isChanged = false;
  for (const item of value) {
    const stored = walk.carry(item, place, { of: "set", part: "value", index: items.length });
    isChanged ||= stored !== item;
    items.push(stored);
  }
  return isChanged ? new Set(items) : value;
};
