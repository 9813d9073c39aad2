import type { Command } from "commander";
import { addChange } from "./change-calls.js";
import type { Screen } from "./screen.js";

export function addDiscard(program: Command, screen: Screen): void {
  const command = program
    .command("discard")
    .summary("delete calls for good")
    .description(
      "Deletes calls, whatever their state, except those that are running. Sent ones are left to `carteiro clean` unless " +
        "an id or --state sent names them.",
    )
    .addHelpText(
      "after",
      `
It counts first. Without --yes it asks on a terminal; elsewhere it prints what it
would do, and ends with exit code 2. What it deletes cannot be brought back.

Examples:
  $ carteiro discard --state dead --older-than 30d
  $ carteiro discard 0190f5d6-7e1c-7000-8000-3c2f1d9a5b77 --yes`,
    );
  addChange(command, screen, {
    verb: "discard",
    past: "discarded",
    otherwise: "not stored, or running",
    make: async (outbox, calls, options) => {
      const { discarded, running } = await outbox.calls.discard(calls, options);
      return { done: discarded, running };
    },
  });
}
