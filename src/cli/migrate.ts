import type { Command } from "commander";
import type { Screen } from "./screen.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

export function addMigrate(program: Command, screen: Screen): void {
  program
    .command("migrate")
    .summary("bring Carteiro's tables up to date")
    .description(
      "Creates Carteiro's tables in the outbox's database, or brings them up to date. Safe when many start at once.",
    )
    .addHelpText("after", "\nExample:\n  $ carteiro migrate && node server.js")
    .action(async (_: unknown, command: Command) => {
      await withOutbox(command.optsWithGlobals<CommonOptions>(), (outbox) => outbox.migrate());
      screen.print("the tables are up to date");
    });
}
