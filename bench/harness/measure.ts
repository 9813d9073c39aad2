import { ContenderProcess } from "./contender-process.js";
import { inRotation, type Rounds } from "./rounds.js";
import { type Spread, spreadOf } from "./statistics.js";
import { withServer } from "./servers.js";
import type { ContenderPlan, Engine, Metrics, Scenario, Target } from "./types.js";

export interface MeasuredContender {
  name: string;
  role: ContenderPlan["role"];
  at?: NonNullable<ContenderPlan["at"]>;
  /** Where they are fewer than the others'. */
  calls?: number;
  rounds: Metrics[];
  metrics: Record<string, Spread>;
}

/** The median of the rounds' ratios, and their spread. */
export interface Ratio extends Spread {
  contender: string;
  /** Absent where it is no ratio, but a figure. */
  against?: string;
  metric: string;
  atLeast?: number;
  atMost?: number;
  /** Absent where there is no target. */
  isMet?: boolean;
}

export interface EngineResult {
  server: string;
  engine: Engine;
  /** Of a round; absent where a round has a duration instead. */
  calls?: number;
  contenders: MeasuredContender[];
  ratios: Ratio[];
}

export interface MeasureOptions {
  engine: Engine;
  rounds: Rounds;
  calls: number;
  roundMs: number;
  isWanted(plan: ContenderPlan): boolean;
}

/** Measures one scenario on one engine: a server of its own, a process and a database for each contender. */
export function measureScenario(scenario: Scenario, options: MeasureOptions): Promise<EngineResult> {
  const { engine, rounds, calls, roundMs } = options;
  const plans = scenario.contenders.filter(
    (plan) => (plan.engines ?? scenario.engines ?? ["postgresql"]).includes(engine) && options.isWanted(plan),
  );
  if (plans.length === 0) throw new Error(`${scenario.name} has no such contender`);
  return withServer(engine, true, async (server) => {
    const opened: { plan: ContenderPlan; calls: number; contender: ContenderProcess }[] = [];
    try {
      for (const [n, plan] of plans.entries()) {
        const share = Math.round(calls * (plan.share ?? 1));
        const ground = { engine, url: await server.newDatabase(`contender_${n}`), calls: share, roundMs };
        const contender = await ContenderProcess.open(plan.name, plan.file, ground, plan.options);
        opened.push({ plan, calls: share, contender });
      }
      const results = await inRotation(opened, rounds, async ({ plan, contender }, round) => {
        await contender.prepare();
        const metrics = await contender.measure();
        progress(`${scenario.name}, ${server.title}, ${round < 0 ? "warm-up" : `round ${round + 1}`}: ${plan.name}`);
        return metrics;
      });
      const contenders = opened.map((one) =>
        measured(one.plan, one.calls === calls ? 0 : one.calls, results.get(one)!),
      );
      const ratios = scenario.targets.flatMap((target) => ratioOf(scenario, target, engine, contenders));
      return { server: server.title, engine, ...(calls > 0 && { calls }), contenders, ratios };
    } finally {
      progress("");
      await Promise.all(opened.map(({ contender }) => contender.close()));
    }
  });
}

function measured({ name, role, at }: ContenderPlan, calls: number, rounds: Metrics[]): MeasuredContender {
  const metrics: MeasuredContender["metrics"] = {};
  for (const metric of Object.keys(rounds[0]!)) metrics[metric] = spreadOf(rounds.map((round) => round[metric]!));
  return { name, role, ...(at && { at }), ...(calls > 0 && { calls }), rounds, metrics };
}

function ratioOf(
  scenario: Scenario,
  target: Target,
  engine: Engine,
  contenders: readonly MeasuredContender[],
): Ratio[] {
  const { contender, against, metric = scenario.metrics?.[0] ?? "rate", atLeast, atMost } = target;
  const [one, other] = [contender, against].map((name) => contenders.find((measured) => measured.name === name));
  if (!one || (!other && against !== undefined) || !(target.engines ?? [engine]).includes(engine)) return [];
  const spread = spreadOf(one.rounds.map((round, n) => round[metric]! / (other?.rounds[n]?.[metric] ?? 1)));
  const isMet =
    atLeast !== undefined ? spread.median >= atLeast : atMost !== undefined ? spread.median <= atMost : undefined;
  return [
    {
      contender,
      ...(against !== undefined && { against }),
      metric,
      ...spread,
      ...(atLeast !== undefined && { atLeast }),
      ...(atMost !== undefined && { atMost }),
      ...(isMet !== undefined && { isMet }),
    },
  ];
}

/** One line that is overwritten, for who watches. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}
