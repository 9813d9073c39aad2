import type { Command } from "commander";
import ms from "ms";
import type { StreamStatus } from "../types.js";
import type { Colors, Screen } from "./screen.js";
import { type Column, table } from "./table.js";
import { oneLine } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface StatusCommandOptions extends CommonOptions {
  json?: boolean;
}

export function addStatus(program: Command, screen: Screen): void {
  program
    .command("status")
    .summary("show how each stream stands")
    .description(
      "Shows, for each stream that has a call, how many are pending (and of these due or running), sent and dead, how many " +
        "ordering keys are held back behind their first call, and for how long the oldest due call has been due.",
    )
    .option("--json", "print an array of objects")
    .addHelpText("after", "\nExample:\n  $ carteiro status --json | jq '.[] | select(.dead > 0)'")
    .action(async (_: unknown, command: Command) => {
      const { json, ...common } = command.optsWithGlobals<StatusCommandOptions>();
      const streams = await withOutbox(common, (outbox) => outbox.streams.list());
      if (json) screen.print(JSON.stringify(streams, null, 2));
      else if (streams.length === 0) screen.print("no calls are stored");
      else screen.print(table(columns(screen.colors), streams, screen.colors));
    });
}

function columns({ red, yellow }: Colors): Column<StreamStatus>[] {
  return [
    { title: "stream", value: ({ stream }) => oneLine(stream) },
    { title: "pending", value: ({ pending }) => pending },
    { title: "due", value: ({ due }) => due },
    { title: "running", value: ({ running }) => running },
    { title: "sent", value: ({ sent }) => sent },
    { title: "dead", value: ({ dead }) => dead, paint: (cell, { dead }) => (dead > 0 ? red(cell) : cell) },
    {
      title: "blocked keys",
      value: ({ blockedKeys }) => blockedKeys,
      paint: (cell, { blockedKeys }) => (blockedKeys > 0 ? yellow(cell) : cell),
    },
    {
      title: "oldest due",
      value: ({ oldestDueAgeMs }) => (oldestDueAgeMs === undefined ? "-" : ms(Math.round(oldestDueAgeMs))),
    },
  ];
}
