import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { drawChart } from "./chart.js";
import { machine, type Machine } from "./machine.js";
import type { EngineResult, MeasuredContender, Ratio } from "./measure.js";
import type { Scenario } from "./types.js";

const folder = new URL("../results/", import.meta.url);

/** What is kept of one scenario. */
export interface ScenarioResult {
  scenario: string;
  title: string;
  unit: string;
  date: string;
  machine: Machine;
  engines: EngineResult[];
}

/** `results/<scenario>.json` and `.svg`, in the place of what was measured before. */
export async function writeResults(scenario: Scenario, engines: EngineResult[]): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { name, title, unit } = scenario;
  const result: ScenarioResult = {
    scenario: name,
    title,
    unit,
    date: new Date().toISOString().slice(0, 10),
    machine: machine(),
    engines: engines.map(rounded),
  };
  writeJson(`${name}.json`, result);
  writeFileSync(new URL(`${name}.svg`, folder), await drawChart(scenario, result.engines));
}

export function readJson(name: string): unknown {
  return JSON.parse(readFileSync(new URL(name, folder), "utf8"));
}

/** In the shape that Prettier leaves as it is. */
export function writeJson(name: string, value: unknown): void {
  writeFileSync(new URL(name, folder), `${JSON.stringify(value, null, 2)}\n`);
}

/** More digits than the spread leaves are noise in every diff. */
function rounded(result: EngineResult): EngineResult {
  const contenders = result.contenders.map((contender): MeasuredContender => ({
    ...contender,
    rounds: contender.rounds.map(roundEach),
    metrics: Object.fromEntries(
      Object.entries(contender.metrics).map(([metric, spread]) => [metric, roundEach(spread)]),
    ),
  }));
  return { ...result, contenders, ratios: result.ratios.map((ratio): Ratio => roundEach(ratio)) };
}

function roundEach<Value extends object>(value: Value): Value {
  const entries = Object.entries(value).map(([key, one]) => [
    key,
    typeof one === "number" ? Number(one.toPrecision(4)) : (one as unknown),
  ]);
  return Object.fromEntries(entries) as Value;
}
