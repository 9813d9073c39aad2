import { parseArgs } from "node:util";
import { type EngineName, keepFindings, runChaos } from "./chaos.js";
import { tally } from "./tally.js";

const ENGINES: readonly EngineName[] = ["postgresql", "mariadb"];

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "30" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    engine: { type: "string", multiple: true, default: [...ENGINES] },
  },
});
const seconds = Number(values.seconds);
const seed = Number(values.seed);
const engines = ENGINES.filter((engine) => values.engine.includes(engine));
if (!(seconds > 0) || !Number.isInteger(seed) || engines.length !== new Set(values.engine).size) {
  console.error("usage: npm run chaos -- [--seconds 30] [--seed 42] [--engine postgresql|mariadb]");
  process.exit(2);
}

const only = engines.length === 1 ? ` --engine ${engines[0]}` : "";
console.log(`to repeat it: npm run chaos -- --seconds ${seconds} --seed ${seed}${only}`);
const results = await Promise.all(
  engines.map(async (engine) => {
    const result = await runChaos({ engine, seconds, seed });
    keepFindings(result);
    console.log(`\n${tally(result)}`);
    return result;
  }),
);
process.exitCode = results.every(({ isClean }) => isClean) ? 0 : 1;
