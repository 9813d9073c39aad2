import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { drawChart } from "./chart.js";
import { drawGrowth } from "./growth-chart.js";
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

/** `results/<scenario>.json` and `.svg`: what was measured takes the place of what was there, and what was not stays. */
export async function writeResults(scenario: Scenario, engines: EngineResult[]): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { name, title, unit } = scenario;
  const result: ScenarioResult = {
    scenario: name,
    title,
    unit,
    date: new Date().toISOString().slice(0, 10),
    machine: machine(),
    engines: merged(scenario, engines.map(rounded)),
  };
  writeJson(`${name}.json`, result);
  writeFileSync(
    new URL(`${name}.svg`, folder),
    await (scenario.growth === undefined ? drawChart : drawGrowth)(scenario, result.engines),
  );
}

/** Long scenarios are measured in parts: an engine, a strategy at a time. In the scenario's order, without what is no longer in it. */
function merged({ name, contenders, engines: order = ["postgresql"] }: Scenario, now: EngineResult[]): EngineResult[] {
  const before = existsSync(new URL(`${name}.json`, folder))
    ? (readJson(`${name}.json`) as ScenarioResult).engines
    : [];
  return order.flatMap((engine) => {
    const [one, kept] = [now, before].map((results) => results.find((result) => result.engine === engine));
    if (!one || !kept) return [one ?? kept].filter((result) => result !== undefined);
    const isNew = (contender: string) => one.contenders.some((measured) => measured.name === contender);
    const names = contenders.map((plan) => plan.name);
    const inOrder = (all: MeasuredContender[]) =>
      all
        .filter((measured) => names.includes(measured.name))
        .sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name));
    const old = kept.contenders.filter((measured) => !isNew(measured.name));
    const ratios = kept.ratios.filter((ratio) => !isNew(ratio.contender));
    return [{ ...one, contenders: inOrder([...old, ...one.contenders]), ratios: [...ratios, ...one.ratios] }];
  });
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
