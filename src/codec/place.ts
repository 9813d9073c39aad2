/** Where a value stands in the arguments: for error messages, and for references from one place to another. */
import { UnserializableArgumentError } from "../errors.js";

/** One step from an object to what is in it. `symbol` steps only ever lead to what is refused. */
export type Step = string | number | symbol | EntryStep;

interface EntryStep {
  readonly of: "map" | "set";
  readonly part: "key" | "value";
  readonly index: number;
}

/** An object on the way from the arguments to a value. The first one's step is the name of the whole, such as `args`. */
export interface Place {
  readonly parent: Place | undefined;
  readonly step: Step;
  readonly depth: number;
}

/** What leads from the arguments to an object in the stored form: array indexes, keys, rows and sides (0 or 1) of a map. */
export type StoredPath = readonly (string | number)[];

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

/** `args[0].items[2].onClick`, `args[0]["first name"]`, `args[0].tags<value 3>`. */
function pathOf(parent: Place | undefined, step: Step): string {
  const parts = [lastPart(step, parent === undefined)];
  for (let place = parent; place !== undefined; place = place.parent) {
    parts.push(lastPart(place.step, place.parent === undefined));
  }
  return parts.reverse().join("");
}

function lastPart(step: Step, isFirst: boolean): string {
  if (typeof step === "object") return `<${step.part} ${step.index}>`;
  if (typeof step !== "string") return `[${String(step)}]`;
  if (isFirst) return step;
  return IDENTIFIER.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
}

export function storedPathOf(place: Place): StoredPath {
  const path: (string | number)[] = [];
  for (let at = place; at.parent !== undefined; at = at.parent) {
    if (typeof at.step !== "object") path.push(at.step as string | number);
    else if (at.step.of === "set") path.push(at.step.index);
    else path.push(at.step.part === "key" ? 0 : 1, at.step.index);
  }
  return path.reverse();
}

export function refuse(parent: Place | undefined, step: Step, problem: string, options?: ErrorOptions): never {
  throw new UnserializableArgumentError(pathOf(parent, step), problem, options);
}

export function refusePlace(place: Place, problem: string, options?: ErrorOptions): never {
  refuse(place.parent, place.step, problem, options);
}
