import { type Command, Option } from "commander";
import { STATES } from "../operator/options.js";
import type { CallSelection, CallState } from "../types.js";
import { duration } from "./arguments.js";

/** Option values that narrow the calls that a command is about. */
export interface SelectionValues {
  stream?: string;
  state?: CallState;
  function?: string;
  key?: string;
  olderThan?: number;
  error?: string;
}

export function addSelection(command: Command): Command {
  return command
    .option("--stream <name>", "only those of this stream")
    .addOption(new Option("--state <state>", "only those in this state").choices(STATES))
    .option("--function <name>", "only those of this function")
    .option("--key <key>", 'only those of this ordering key; "" means those without one')
    .addOption(
      new Option("--older-than <duration>", "only those stored longer ago than this, such as 1h").argParser(duration),
    )
    .option("--error <text>", "only those whose last error contains this text, in these very letters");
}

export function selectionOf(values: SelectionValues): CallSelection {
  const { stream, state, function: functionName, key: orderingKey, olderThan, error } = values;
  return { stream, state, function: functionName, orderingKey, olderThan, error };
}

export function isNarrowed(selection: CallSelection): boolean {
  return Object.values(selection).some((value) => value !== undefined);
}
