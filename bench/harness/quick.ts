import { type EngineResult, measureScenario, type Ratio } from "./measure.js";
import { machine } from "./machine.js";
import { readJson, writeJson } from "./results.js";
import { missing } from "./servers.js";
import { table } from "./table.js";
import type { BenchArguments } from "./arguments.js";
import type { Engine, Scenario } from "./types.js";

const FILE = "quick.json";
/** A ratio below this part of the kept one has fallen too far to be noise. */
const TOLERATED = 2 / 3;

interface QuickRatio {
  scenario: string;
  engine: string;
  contender: string;
  against: string;
  median: number;
}

/** At least three rounds; where ours are done soon, as many more as make their noise small. */
const ROUNDS = { least: 3, most: 9, forMs: 8000 };

/**
 * The fast subset. Ratios against the limit alone are held against what was kept: absolute times are those of a machine.
 *
 * @returns the exit code
 */
export async function quick(scenarios: readonly Scenario[], options: BenchArguments): Promise<number> {
  const kept = options.writes ? [] : (readJson(FILE) as { ratios: QuickRatio[] }).ratios;
  const ratios: QuickRatio[] = [];
  const fallen: QuickRatio[] = [];
  for (const scenario of scenarios) {
    for (const engine of scenario.engines ?? ["postgresql" as const]) {
      if (!scenario.quick || !options.engines.includes(engine)) continue;
      const absent = missing(engine);
      if (absent !== undefined) {
        console.error(`\n${scenario.name}: ${absent}`);
        // As with the tests: what nobody looked at is no success.
        if (process.env.CI) return 1;
        continue;
      }
      let measured = await measureQuick(scenario, engine, options);
      // What was no noise is there again.
      if (measured.some((ratio) => hasFallen(ratio, kept))) measured = await measureQuick(scenario, engine, options);
      ratios.push(...measured);
      fallen.push(...measured.filter((ratio) => hasFallen(ratio, kept)));
    }
  }
  if (options.writes) {
    writeJson(FILE, { date: new Date().toISOString().slice(0, 10), machine: machine(), ratios });
    return 0;
  }
  for (const ratio of fallen) {
    const { scenario, engine, contender, against, median } = ratio;
    const before = keptOf(ratio, kept)!.median;
    console.error(`${scenario}, ${engine}: ${contender} / ${against} fell from ${before} to ${median}`);
  }
  if (fallen.length === 0) console.log(`\nNo ratio fell by more than a third against ${FILE}.`);
  return fallen.length > 0 ? 1 : 0;
}

async function measureQuick(scenario: Scenario, engine: Engine, options: BenchArguments): Promise<QuickRatio[]> {
  const { contenders, calls, roundMs = 0 } = scenario.quick!;
  const result = await measureScenario(scenario, {
    engine,
    rounds: options.rounds === undefined ? ROUNDS : { least: options.rounds },
    calls: calls === undefined ? 0 : (options.calls ?? calls),
    roundMs,
    isWanted: ({ name }) => contenders.includes(name),
  });
  console.log(`\n${table(scenario, result)}`);
  return result.ratios.map((ratio) => toQuick(scenario, result, ratio));
}

function hasFallen(ratio: QuickRatio, kept: readonly QuickRatio[]): boolean {
  const before = keptOf(ratio, kept);
  return before !== undefined && ratio.median < TOLERATED * before.median;
}

function toQuick({ name }: Scenario, { engine }: EngineResult, { contender, against = "", median }: Ratio): QuickRatio {
  return { scenario: name, engine, contender, against, median: Number(median.toPrecision(3)) };
}

function keptOf(ratio: QuickRatio, kept: readonly QuickRatio[]): QuickRatio | undefined {
  return kept.find(
    ({ scenario, engine, contender, against }) =>
      scenario === ratio.scenario &&
      engine === ratio.engine &&
      contender === ratio.contender &&
      against === ratio.against,
  );
}
