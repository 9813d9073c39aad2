import type { Command } from "commander";
import ms from "ms";
import type { StreamStatus } from "../types.js";
import type { Colors, Screen } from "./screen.js";
import { type Column, table } from "./table.js";
import { counted, cut, firstLine, json, oneLine, seconds } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface StatusCommandOptions extends CommonOptions {
  json?: boolean;
}

const LONGEST_NAME = 24;
const LONGEST_KEY = 40;
const LINE_OF_A_LOG = 100;

export function addStatus(program: Command, screen: Screen): void {
  program
    .command("status")
    .summary("show how each stream stands")
    .description(
      "Shows, for each stream that has a call, is paused, or has a parked key, how many calls are pending (and of these due, running or parked), sent and dead, " +
        "how many ordering keys wait behind a call that failed, and for how long the oldest due call has been due. Below it: " +
        "since when it is paused, the call that has held its key back for longest by failing, how many keys wait behind a " +
        "call that is delayed or unroutable, or are parked, and who serves it.",
    )
    .option("--json", "print an array of objects")
    .addHelpText("after", "\nExample:\n  $ carteiro status --json | jq '.[] | select(.dead > 0)'")
    .action(async (_: unknown, command: Command) => {
      const { json: asJson, ...common } = command.optsWithGlobals<StatusCommandOptions>();
      const streams = await withOutbox(common, (outbox) => outbox.streams.list());
      if (asJson) screen.print(json(streams));
      else if (streams.length === 0) screen.print("no calls are stored");
      else screen.print(pageOf(streams, screen));
    });
}

/** A row of numbers per stream, and below it what would make the rows too wide. */
function pageOf(streams: readonly StreamStatus[], screen: Screen): string {
  const [head, ...rows] = table(columns(screen.colors), streams, screen.colors).split("\n");
  const width = screen.isTerminal ? screen.width : LINE_OF_A_LOG;
  const blocks = rows.map((row, at) => {
    const remarks = remarksOn(streams[at]!).map((remark) => cut(`  ${remark}`, width));
    return [row, ...remarks].join("\n");
  });
  return [head, ...blocks].join("\n");
}

function remarksOn(status: StreamStatus): string[] {
  const { pausedAt, pausedReason, waitingKeys, parkedKeys, blockedHead, servedBy } = status;
  const remarks: string[] = [];
  if (pausedAt) {
    const reason = pausedReason === undefined ? "" : `: ${oneLine(pausedReason)}`;
    remarks.push(`paused since ${seconds(pausedAt)}${reason}`);
  }
  if (blockedHead) {
    const { id, orderingKey = "", since, attempts, lastError } = blockedHead;
    const key = orderingKey === "" ? "" : `, key ${cut(oneLine(orderingKey), LONGEST_KEY)}`;
    remarks.push(`blocked since ${seconds(since)}: ${cut(oneLine(blockedHead.function), LONGEST_NAME)}${key}`);
    const error = lastError === undefined ? "" : `: ${oneLine(firstLine(lastError))}`;
    remarks.push(`  ${id}, attempts ${attempts}${error}`);
  }
  if (waitingKeys > 0) remarks.push(`${counted(waitingKeys, "key")} behind a delayed or unroutable call`);
  if (parkedKeys > 0) remarks.push(`${counted(parkedKeys, "key")} parked`);
  if (servedBy !== undefined) remarks.push(`served by ${oneLine(servedBy)}`);
  return remarks;
}

function columns({ red, yellow }: Colors): Column<StreamStatus>[] {
  return [
    { title: "stream", value: ({ stream }) => cut(oneLine(stream), LONGEST_NAME) },
    { title: "pending", value: ({ pending }) => pending },
    { title: "due", value: ({ due }) => due },
    { title: "running", value: ({ running }) => running },
    { title: "sent", value: ({ sent }) => sent },
    { title: "dead", value: ({ dead }) => dead, paint: (cell, { dead }) => (dead > 0 ? red(cell) : cell) },
    { title: "parked", value: ({ parked }) => parked },
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
