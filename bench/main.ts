/** `npm run bench -- [scenario…] [--rounds N] [--calls N] [--quick] …`: see `usage`. */
import { readdirSync } from "node:fs";
import { parseArguments, usage } from "./harness/arguments.js";
import { describe, machine } from "./harness/machine.js";
import { type EngineResult, measureScenario } from "./harness/measure.js";
import { installPeers } from "./harness/peers.js";
import { quick } from "./harness/quick.js";
import { writeResults } from "./harness/results.js";
import { missing } from "./harness/servers.js";
import { table } from "./harness/table.js";
import type { Scenario } from "./harness/types.js";

const scenarios = await loadScenarios();
const names = scenarios.map(({ name }) => name);
const options = argumentsOrExit();
if (options.isHelp) {
  console.log(usage(names));
} else {
  // The fast subset has no peers.
  if (!options.isQuick) installPeers();
  console.log(describe(machine()));
  const wanted = scenarios.filter(({ name }) => options.scenarios.includes(name));
  if (options.isQuick) process.exitCode = await quick(wanted, options);
  else for (const scenario of wanted) await bench(scenario);
}

function argumentsOrExit() {
  try {
    return parseArguments(process.argv.slice(2), names);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage(names)}`);
    process.exit(2);
  }
}

async function bench(scenario: Scenario): Promise<void> {
  const results: EngineResult[] = [];
  for (const engine of scenario.engines ?? ["postgresql" as const]) {
    if (!options.engines.includes(engine)) continue;
    const absent = missing(engine);
    if (absent !== undefined) {
      console.log(`\n${scenario.name}: ${absent}`);
      continue;
    }
    const result = await measureScenario(scenario, {
      engine,
      rounds: { least: options.rounds ?? scenario.rounds ?? 5, warmsUp: scenario.warmsUp ?? true },
      calls: scenario.calls === undefined ? 0 : (options.calls ?? scenario.calls),
      roundMs: scenario.roundMs ?? 0,
      isWanted: ({ name }) => options.only === undefined || options.only.some((part) => name.includes(part)),
    });
    console.log(`\n${table(scenario, result)}`);
    results.push(result);
  }
  if (options.writes && results.length > 0) await writeResults(scenario, results);
}

async function loadScenarios(): Promise<Scenario[]> {
  const folder = new URL("scenarios/", import.meta.url);
  const files = readdirSync(folder).filter((file) => /\.[jt]s$/.test(file));
  const modules = await Promise.all(files.map((file) => import(new URL(file, folder).href) as Promise<unknown>));
  return modules.map((module) => (module as { scenario: Scenario }).scenario);
}
