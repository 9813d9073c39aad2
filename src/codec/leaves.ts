/** Objects without content of their own, which superjson stores as text: Date, RegExp and URL. */
import { types } from "node:util";
import { type Place, refusePlace } from "./place.js";
import { refuseExtras } from "./plain.js";
import { type Carry } from "./walk.js";

export const carryDate: Carry = (value, place, walk) => {
  if (!types.isDate(value)) return refusePlace(place, "has the prototype of a Date and is none; pass a Date");
  refuseExtras(value, place);
  if (Number.isNaN(value.getTime())) refusePlace(place, "is an invalid Date; pass a valid one, or null");
  walk.isRich = true;
  return value;
};

/** `lastIndex` is the state of a search, not of the expression: it comes back as 0. */
export const carryRegExp: Carry = (value, place, walk) => {
  if (!types.isRegExp(value)) return refusePlace(place, "has the prototype of a RegExp and is none; pass a RegExp");
  refuseExtras(value, place, "lastIndex");
  walk.isRich = true;
  return value;
};

export const carryUrl: Carry = (value, place, walk) => {
  refuseExtras(value, place);
  const href = hrefOf(value, place);
  if (new URL(href).href !== href)
    refusePlace(place, "is a URL that reads differently when parsed again; pass its text");
  walk.isRich = true;
  return value;
};

function hrefOf(value: object, place: Place): string {
  try {
    return (value as URL).href;
  } catch (error) {
    return refusePlace(place, "has the prototype of a URL and is none; pass a URL", { cause: error });
  }
}
