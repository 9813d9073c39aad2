import type { Command } from "commander";
import type { CallDetails } from "../types.js";
import { jsonOf, textOf } from "./decoded.js";
import { describeError, NotDoneError } from "./failure.js";
import type { Screen } from "./screen.js";
import { harmless, json, oneLine, seconds } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface ShowCommandOptions extends CommonOptions {
  args?: boolean;
  json?: boolean;
}

export function addShow(program: Command, screen: Screen): void {
  program
    .command("show")
    .summary("show all that is stored of a call")
    .description("Shows all that is stored of a call, with its last error in full. Its arguments only with --args.")
    .argument("<id>", "the call")
    .option("--args", "show the decoded arguments too, which may be personal data")
    .option("--json", "print an object; what JSON has no form for, such as a Date or a Map, as a text or an array")
    .addHelpText("after", "\nExample:\n  $ carteiro show 0190f5d6-7e1c-7000-8000-3c2f1d9a5b77 --args")
    .action(async (id: string, _: unknown, command: Command) => {
      const { args, json: asJson, ...common } = command.optsWithGlobals<ShowCommandOptions>();
      const call = await withOutbox(common, (outbox) => outbox.calls.get(id, { args }), ["calls.get"]);
      if (!call) throw new NotDoneError(`the call ${id} is not stored, perhaps because it has run`);
      screen.print(asJson ? json(objectOf(call)) : pageOf(call, screen));
    });
}

function objectOf({ args, argsError, ...call }: CallDetails): object {
  return {
    ...call,
    ...(args === undefined ? {} : { args: jsonOf(args) }),
    ...(argsError === undefined ? {} : { argsError: describeError(argsError) }),
  };
}

function pageOf(call: CallDetails, { colors }: Screen): string {
  const { args, argsError, lastError, settledAt } = call;
  const headers = Object.entries(call.headers);
  const rows: [title: string, value: string | number][] = [
    ["id", call.id],
    ["function", call.function],
    ["version", call.version],
    ["stream", call.stream],
    ["strategy", call.strategy],
    ["key", call.orderingKey ?? "-"],
    ["state", call.state],
    ["attempts", call.attempts],
    ["suspect runs", call.suspectRuns],
    ["created", seconds(call.createdAt)],
    ["due", seconds(call.dueAt)],
    ["settled", settledAt ? seconds(settledAt) : "-"],
    ["codec", call.codec],
    ["payload", `${call.payloadBytes} bytes, ${call.isSigned ? "signed" : "not signed"}`],
    ["headers", headers.length === 0 ? "-" : ""],
  ];
  const width = Math.max(...rows.map(([title]) => title.length)) + 2;
  const lines = rows.map(([title, value]) => `${colors.bold(title.padEnd(width))}${oneLine(String(value))}`.trimEnd());
  lines.push(...headers.map(([name, value]) => `  ${oneLine(name)}: ${oneLine(value)}`));
  lines.push(section(colors.bold("last error"), lastError === undefined ? undefined : harmless(lastError)));
  if (args) lines.push(section(colors.bold("arguments"), args.length === 0 ? undefined : textOf(args)));
  if (argsError !== undefined) {
    lines.push(section(colors.bold("arguments"), `could not be decoded: ${describeError(argsError)}`));
  }
  return lines.join("\n");
}

function section(title: string, text: string | undefined): string {
  return text === undefined ? `${title}  -` : `${title}\n${text.replace(/^/gm, "  ")}`;
}
