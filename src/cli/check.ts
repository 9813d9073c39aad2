import { type Command, Option } from "commander";
import { duration, numberUpTo } from "./arguments.js";
import { ToldError } from "./failure.js";
import type { Screen } from "./screen.js";
import { json, oneLine } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface CheckCommandOptions extends CommonOptions {
  maxAge?: number;
  maxSize?: number;
  json?: boolean;
}

export function addCheck(program: Command, screen: Screen): void {
  program
    .command("check")
    .summary("tell whether a person should look")
    .description(
      "Looks for streams whose oldest call has been due for too long, or that have too many pending calls, and for calls " +
        "whose function, or version of it, the configuration does not register. It counts the whole table.",
    )
    .addOption(
      new Option("--max-age <duration>", "how long a stream's oldest call may have been due (default: 10m)").argParser(
        duration,
      ),
    )
    .addOption(
      new Option("--max-size <number>", "how many calls of a stream may be pending (default: no limit)").argParser(
        numberUpTo(Number.MAX_SAFE_INTEGER, 0),
      ),
    )
    .option("--json", "print an array of objects")
    .addHelpText(
      "after",
      `
It does not tell of dead calls, of parked keys, or of a call that fails and has
none behind it: until its next attempt it is not due. carteiro status shows them.

Exit code 0 where all is well; 1 where it is not, with a line for each problem,
or where the database cannot be asked: for probes, and as a gate of deploys that
rename or remove functions.

Examples:
  $ carteiro check --max-age 10m --max-size 1000
  $ carteiro check --json | jq -r '.[].message'`,
    )
    .action(async (_: unknown, command: Command) => {
      const { maxAge, maxSize, json: asJson, ...common } = command.optsWithGlobals<CheckCommandOptions>();
      const problems = await withOutbox(common, (outbox) => outbox.check({ maxAge, maxSize }), ["check"]);
      if (asJson) screen.print(json(problems));
      else if (problems.length === 0) screen.print("all is well");
      else screen.print(problems.map(({ kind, message }) => `${kind}: ${oneLine(message)}`).join("\n"));
      if (problems.length > 0) throw new ToldError();
    });
}
