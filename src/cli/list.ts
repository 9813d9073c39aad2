import { type Command, Option } from "commander";
import { LONGEST_PAGE } from "../operator/options.js";
import type { ListedCall } from "../types.js";
import { numberUpTo } from "./arguments.js";
import type { Colors, Screen } from "./screen.js";
import { addSelection, selectionOf, type SelectionValues } from "./selection.js";
import { type Column, table } from "./table.js";
import { cut, errorText, json, oneLine, seconds } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface ListCommandOptions extends CommonOptions, SelectionValues {
  limit: number;
  after?: string;
  json?: boolean;
}

export function addList(program: Command, screen: Screen): void {
  const command = program
    .command("list")
    .summary("list calls")
    .description("Lists stored calls in the order in which they were stored. Arguments are not shown.");
  addSelection(command)
    .addOption(
      new Option("--limit <number>", `at most so many, up to ${LONGEST_PAGE}`)
        .argParser(numberUpTo(LONGEST_PAGE))
        .default(100),
    )
    .option("--after <cursor>", "go on after the last call of the page before, by its cursor or its id")
    .option("--json", "print an array of objects")
    .addHelpText("after", "\nExample:\n  $ carteiro list --stream orders --state dead")
    .action(async (_: unknown, command: Command) => {
      const { limit, after, json: asJson, ...options } = command.optsWithGlobals<ListCommandOptions>();
      const wanted = { ...selectionOf(options), limit, after };
      const calls = await withOutbox(options, (outbox) => outbox.calls.list(wanted));
      if (asJson) screen.print(json(calls));
      else if (calls.length === 0) screen.print("no such calls are stored");
      else screen.print(table(columns(screen.colors), calls, screen.colors));
      if (calls.length === limit) screen.warn(`there may be more: --after ${calls.at(-1)!.cursor} lists them`);
    });
}

function columns({ red, yellow }: Colors): Column<ListedCall>[] {
  return [
    { title: "id", value: ({ id }) => id },
    { title: "function", value: (call) => oneLine(call.function) },
    { title: "stream", value: ({ stream }) => oneLine(stream) },
    { title: "key", value: ({ orderingKey }) => cut(oneLine(orderingKey ?? "-"), 40) },
    {
      title: "state",
      value: ({ state }) => state,
      paint: (cell, { state }) =>
        state === "dead" ? red(cell) : state === "blocked" || state === "parked" ? yellow(cell) : cell,
    },
    { title: "attempts", value: ({ attempts }) => attempts },
    { title: "created", value: ({ createdAt }) => seconds(createdAt) },
    { title: "due", value: ({ dueAt }) => seconds(dueAt) },
    { title: "last error", value: ({ lastError }) => errorText(lastError ?? "-") },
  ];
}
