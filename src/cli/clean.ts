import { type Command, Option } from "commander";
import ms from "ms";
import { duration } from "./arguments.js";
import type { Screen } from "./screen.js";
import { counted } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface CleanCommandOptions extends CommonOptions {
  olderThan?: number;
  dryRun?: boolean;
}

export function addClean(program: Command, screen: Screen): void {
  program
    .command("clean")
    .summary("delete old sent calls")
    .description("Deletes sent calls that are older than the outbox's retention; never a pending or a dead one.")
    .addOption(
      new Option("--older-than <duration>", "instead of the outbox's retention, such as 7d").argParser(duration),
    )
    .option("--dry-run", "count them, and delete nothing")
    .addHelpText("after", "\nExample:\n  $ carteiro clean --older-than 30d --dry-run")
    .action(async (_: unknown, command: Command) => {
      const { olderThan, dryRun, ...common } = command.optsWithGlobals<CleanCommandOptions>();
      const { deleted } = await withOutbox(common, (outbox) => outbox.clean({ olderThan, dryRun }));
      const age = olderThan === undefined ? "the retention" : ms(olderThan);
      screen.print(`${dryRun ? "would delete" : "deleted"} ${counted(deleted, "sent call")} older than ${age}`);
    });
}
