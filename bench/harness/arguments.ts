import { parseArgs } from "node:util";
import { type Engine, engines } from "./types.js";

export interface BenchArguments {
  scenarios: readonly string[];
  engines: readonly Engine[];
  /** Parts of the names of contenders. (Default: all) */
  only?: readonly string[];
  rounds?: number;
  calls?: number;
  isQuick: boolean;
  /** Whether the results are kept. */
  writes: boolean;
  isHelp: boolean;
}

export function usage(scenarios: readonly string[]): string {
  return `npm run bench -- [scenario…] [options]

  --rounds N       rounds after the warm-up (default: 5, of short ones 15; 3 or more with --quick)
  --calls N        calls, or samples, of a round that has a number of them
  --engine E       postgresql or mysql alone
  --only A;B       contenders alone whose names have A or B in them
  --write          keep the results although one of the options above was given: of what was measured, beside those of the rest
  --quick          the fast subset, held against results/quick.json: ends with 1 where a ratio fell by more than a third
  --quick --write  replaces results/quick.json

Scenarios: ${scenarios.join(", ")}`;
}

/** @throws {Error} that says what is wrong with them */
export function parseArguments(args: string[], scenarios: readonly string[]): BenchArguments {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      rounds: { type: "string" },
      calls: { type: "string" },
      engine: { type: "string" },
      only: { type: "string" },
      write: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  for (const name of positionals) {
    if (!scenarios.includes(name)) throw new Error(`no scenario ${name}; there are ${scenarios.join(", ")}`);
  }
  const { rounds, calls, engine, only } = values;
  if (engine !== undefined && !engines.includes(engine as Engine)) throw new Error(`no engine ${engine}`);
  const isWhole = [rounds, calls, engine, only].every((value) => value === undefined);
  return {
    scenarios: positionals.length > 0 ? positionals : scenarios,
    engines: engine === undefined ? engines : [engine as Engine],
    ...(only !== undefined && { only: only.split(";").map((name) => name.trim()) }),
    ...(rounds !== undefined && { rounds: wholeNumber("--rounds", rounds) }),
    ...(calls !== undefined && { calls: wholeNumber("--calls", calls) }),
    isQuick: values.quick,
    writes: values.write || (isWhole && !values.quick),
    isHelp: values.help,
  };
}

function wholeNumber(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`${option} is ${text}; a whole number from 1 on`);
  return number;
}
