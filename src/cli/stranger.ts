import type { Outbox } from "../outbox.js";
import type { KeyOfStream } from "../types.js";
import type { Screen } from "./screen.js";
import { keyText, oneLine, streamText } from "./text.js";

/** Streams whose names a warning lists. */
const SHOWN = 10;

/** What is paused, or parked, need not have a call just now; but a name without one may be a slip. */
export async function warnOfStranger(
  outbox: Outbox,
  screen: Screen,
  { stream, orderingKey }: KeyOfStream,
  remedy: string,
): Promise<void> {
  const calls = await outbox.calls.list({ stream, orderingKey, limit: 1 });
  if (calls.length > 0) return;
  const others = (await outbox.streams.list()).map((status) => status.stream);
  const what = orderingKey === undefined ? streamText(stream) : keyText(stream, orderingKey);
  // It has no call, and is listed all the same: it has been paused, or has a parked key.
  if (orderingKey === undefined && others.includes(stream)) return;
  screen.warn(
    `${screen.colors.yellow("careful")}: no call of ${what} is stored just now; ${namesOf(others)}; ${remedy}`,
  );
}

function namesOf(streams: readonly string[]): string {
  if (streams.length === 0) return "no stream has any";
  const more = streams.length > SHOWN ? `, and ${streams.length - SHOWN} more` : "";
  return `the streams with calls are ${streams.slice(0, SHOWN).map(oneLine).join(", ")}${more}`;
}
