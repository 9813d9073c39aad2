import type { Command } from "commander";
import { addChange } from "./change-calls.js";
import type { Screen } from "./screen.js";

export function addRetry(program: Command, screen: Screen): void {
  const command = program
    .command("retry")
    .summary("run calls again")
    .description(
      "Makes calls due at once, their retry schedules begun anew: dead ones, and those that failed and wait for their next " +
        "attempt. The others are left as they are.",
    )
    .addHelpText(
      "after",
      `
It counts first. Without --yes it asks on a terminal; elsewhere it prints what it
would do, and ends with exit code 2. Calls of a parked key wait until it is resumed.

Examples:
  $ carteiro retry --state dead --function sendReceipt --error ECONNREFUSED
  $ carteiro retry 0190f5d6-7e1c-7000-8000-3c2f1d9a5b77 --yes`,
    );
  addChange(command, screen, {
    verb: "retry",
    past: "retried",
    otherwise: "not stored, or neither dead nor waiting for another attempt",
    make: async (outbox, calls, options) => ({ done: (await outbox.calls.retry(calls, options)).retried, running: 0 }),
  });
}
