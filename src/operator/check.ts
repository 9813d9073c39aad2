import ms from "ms";
import type { CheckOptions, Problem, StreamStatus } from "../types.js";
import { resolveCheckOptions } from "./options.js";
import type { OperatorParts } from "./parts.js";

/** What a person should look at: streams that are late or long, and calls that this process could not run. */
export async function check(
  { store, registry }: Pick<OperatorParts, "store" | "registry">,
  options: CheckOptions,
): Promise<Problem[]> {
  const { maxAgeMs, maxSize } = resolveCheckOptions(options);
  await store.checkSchema();
  const [streams, functions] = await Promise.all([store.streamStatus(), store.openFunctions()]);
  const late = streams.flatMap((status) => problemsOf(status, maxAgeMs, maxSize));
  const unroutable = functions
    .filter((one) => registry.find(one) === undefined)
    .map(({ stream, functionName, version, calls }): Problem => ({
      kind: "unroutable",
      stream,
      message: `${calls} ${calls === 1 ? "call" : "calls"} of ${functionName} (version ${version}) in stream "${stream}": this process does not know the function, or only an older version of it`,
    }));
  return [...late, ...unroutable];
}

function problemsOf(status: StreamStatus, maxAgeMs: number, maxSize: number): Problem[] {
  const { stream, pending, oldestDueAgeMs = 0, pausedAt } = status;
  const problems: Problem[] = [];
  if (oldestDueAgeMs > maxAgeMs) {
    const paused = pausedAt ? `; it is paused since ${pausedAt.toISOString()}` : "";
    const age = ms(Math.round(oldestDueAgeMs));
    const message = `the oldest call of stream "${stream}" has been due for ${age}, and ${ms(maxAgeMs)} is the limit${paused}`;
    problems.push({ kind: "too-old", stream, message });
  }
  if (pending > maxSize) {
    problems.push({
      kind: "too-many",
      stream,
      message: `stream "${stream}" has ${pending} pending ${pending === 1 ? "call" : "calls"}, and ${maxSize} is the limit`,
    });
  }
  return problems;
}
