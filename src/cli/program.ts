import { createRequire } from "node:module";
import { Command } from "commander";
import { addCheck } from "./check.js";
import { addClean } from "./clean.js";
import { addDiscard } from "./discard.js";
import { exitCodeOf, report } from "./failure.js";
import { addList } from "./list.js";
import { addMigrate } from "./migrate.js";
import { addPark } from "./park.js";
import { addPause } from "./pause.js";
import { addRelay } from "./relay.js";
import { addResume } from "./resume.js";
import { addRetryHead } from "./retry-head.js";
import { addRetry } from "./retry.js";
import type { Screen } from "./screen.js";
import { addShow } from "./show.js";
import { addSkipHead } from "./skip-head.js";
import { addStatus } from "./status.js";

const COMMANDS = [
  addMigrate,
  addRelay,
  addClean,
  addStatus,
  addCheck,
  addList,
  addShow,
  addRetry,
  addDiscard,
  addPause,
  addResume,
  addRetryHead,
  addSkipHead,
  addPark,
];

/** Runs the command that the arguments name, and tells on `screen` what came of it. @returns the exit code */
export async function runProgram(args: readonly string[], screen: Screen): Promise<number> {
  const program = createProgram(screen);
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    report(screen, error, Boolean(program.opts()["verbose"] ?? process.env["DEBUG"]));
    return exitCodeOf(error);
  }
}

function createProgram(screen: Screen): Command {
  const program = new Command("carteiro")
    .description("Relays, watches, mends and cleans an outbox of function calls.")
    .version(version(), "-V, --version", "print the version")
    .option("-c, --config <file>", "the configuration (default: carteiro.config.{ts,mts,js,mjs,cjs} in this folder)")
    .option("--verbose", "show an error with its stack")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => screen.print(text.trimEnd()),
      writeErr: (text) => screen.warn(text.trimEnd()),
      // Told as other errors are.
      outputError: () => undefined,
    })
    .exitOverride()
    .addHelpText(
      "afterAll",
      `
The configuration exports the outbox by default. Calls are run by the functions
that importing it registers: import every module there that uses saveToOutbox.
Exit codes: 0 it worked, 1 it failed, 2 wrong use.`,
    );
  for (const add of COMMANDS) add(program, screen);
  return program;
}

function version(): string {
  const { version } = createRequire(import.meta.url)("carteiro/package.json") as { version: string };
  return version;
}
