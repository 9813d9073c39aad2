export const cyclic: Record<string, unknown> = {};
cyclic["self"] = cyclic;
/** What JavaScript's callers pass where something else is due; some of it cannot be turned into JSON or into text. */
export const oddities: unknown[] = [
  0n,
  Symbol("odd"),
  () => undefined,
  cyclic,
  Object.create(null),
  NaN,
  -1,
  "",
  "odd",
  [],
  {},
];

/** @returns what was thrown */
export function caught(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}
