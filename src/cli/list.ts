import { type Command, Option } from "commander";
import type { CallState, ListedCall } from "../types.js";
import { numberUpTo } from "./arguments.js";
import type { Colors, Screen } from "./screen.js";
import { type Column, table } from "./table.js";
import { cut, oneLine } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface ListCommandOptions extends CommonOptions {
  stream?: string;
  state?: CallState;
  function?: string;
  limit: number;
  after?: string;
  json?: boolean;
}

const STATES: Readonly<Record<CallState, true>> = {
  pending: true,
  due: true,
  running: true,
  blocked: true,
  waiting: true,
  sent: true,
  dead: true,
};
const LONGEST_PAGE = 1000;
const LONGEST_ERROR = 120;

export function addList(program: Command, screen: Screen): void {
  program
    .command("list")
    .summary("list calls")
    .description("Lists stored calls in the order in which they were stored. Arguments are not shown.")
    .option("--stream <name>", "only those of this stream")
    .addOption(new Option("--state <state>", "only those in this state").choices(Object.keys(STATES)))
    .option("--function <name>", "only those of this function")
    .addOption(
      new Option("--limit <number>", `at most so many, up to ${LONGEST_PAGE}`)
        .argParser(numberUpTo(LONGEST_PAGE))
        .default(100),
    )
    .option("--after <id>", "go on after this call: the last one of the page before")
    .option("--json", "print an array of objects")
    .addHelpText("after", "\nExample:\n  $ carteiro list --stream orders --state dead")
    .action(async (_: unknown, command: Command) => {
      const { config, verbose, json, ...filter } = command.optsWithGlobals<ListCommandOptions>();
      const calls = await withOutbox({ config, verbose }, (outbox) => outbox.calls.list(filter));
      if (json) screen.print(JSON.stringify(calls, null, 2));
      else if (calls.length === 0) screen.print("no such calls are stored");
      else screen.print(table(columns(screen.colors), calls, screen.colors));
      if (calls.length === filter.limit) screen.warn(`there may be more: --after ${calls.at(-1)!.id} lists them`);
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
      paint: (cell, { state }) => (state === "dead" ? red(cell) : state === "blocked" ? yellow(cell) : cell),
    },
    { title: "attempts", value: ({ attempts }) => attempts },
    { title: "created", value: ({ createdAt }) => seconds(createdAt) },
    { title: "due", value: ({ dueAt }) => seconds(dueAt) },
    { title: "last error", value: ({ lastError }) => cut(oneLine(firstLine(lastError ?? "-")), LONGEST_ERROR) },
  ];
}

/** What follows is the stack. */
function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}

function seconds(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}
