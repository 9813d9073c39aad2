import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Strategy } from "../../../src/index.js";
import { deferred } from "../../support/waiting.js";
import { now, type RunOfOrder } from "./application.js";
import type { ScenarioName } from "./scenarios.js";
import { startSteppingProxy, type Step } from "./stepping-proxy.js";

const DEADLINE_MS = 60_000;

export interface VictimTask {
  scenario: ScenarioName;
  strategy: Strategy;
  client: "pg" | "mysql2";
  leaseMs: number;
  parts: { url: string; tablePrefix: string; hangs: boolean }[];
}

/** What a victim tells of one of its parts while it lives. */
export interface Tidings {
  tablePrefix: string;
  what: "began" | "succeeded" | "failed" | "published" | "through" | "threw";
  order?: string;
  /** Milliseconds of the machine's monotonic clock. */
  at?: number;
}

/** Where a part of the victim is when it dies: at a step, or in the function. */
export type Point = Step | "in the function";

/** One part of a dead process. */
export interface Victim {
  point: Point;
  tablePrefix: string;
  /** It had done all before it came to its point. */
  isThrough: boolean;
  /** What it was about to ask, or had just asked, where that can be read. */
  request: string;
  /** Those of the process that is dead; what was running then did not succeed. */
  runs: RunOfOrder[];
  /** Orders whose delivery it knew to be settled. */
  published: Set<string>;
}

/**
 * Plays a scenario in one process many times at once, and kills it when each of them is at its point, or through.
 *
 * @param places a point, and the tables that the scenario is played on, for each time
 */
export async function killAt(
  { url, ...common }: Omit<VictimTask, "parts"> & { url: string },
  places: readonly { point: Point; tablePrefix: string }[],
): Promise<Victim[]> {
  const parts = await Promise.all(
    places.map(async ({ point, tablePrefix }) => {
      const step = point === "in the function" ? undefined : point;
      return { point, tablePrefix, proxy: await startSteppingProxy(url, common.client, step) };
    }),
  );
  const task: VictimTask = {
    ...common,
    parts: parts.map(({ proxy, tablePrefix, point }) => ({
      ...{ url: proxy.url, tablePrefix, hangs: point === "in the function" },
    })),
  };
  const child = fork(fileURLToPath(new URL("victim.ts", import.meta.url)), [JSON.stringify(task)], {
    execArgv: ["--import", "tsx"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const gone = Promise.all([once(child, "exit"), once(child, "disconnect")]);
  const heard = new Map(parts.map((part) => [part.tablePrefix, { tidings: [] as Tidings[], settled: deferred() }]));
  child.on("message", (message) => {
    const tidings = message as Tidings;
    const { tidings: all, settled } = heard.get(tidings.tablePrefix)!;
    all.push(tidings);
    const isHanging = parts.find((part) => part.tablePrefix === tidings.tablePrefix)?.point === "in the function";
    if (tidings.what === "through" || (isHanging && tidings.what === "began")) settled.resolve();
    if (tidings.what === "threw") settled.reject(new Error(`the scenario failed before its point: ${tidings.order}`));
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    const early = gone.then(() => Promise.reject(new Error("the victim ended by itself")));
    const arrived = parts.map(({ tablePrefix, proxy }) =>
      Promise.race([heard.get(tablePrefix)!.settled.promise, proxy.stopped]),
    );
    const late = new Promise<never>((_, reject) => {
      const message = `after ${DEADLINE_MS} ms parts of the victim were neither at their points nor through`;
      timer = setTimeout(() => reject(new Error(message)), DEADLINE_MS);
    });
    await Promise.race([Promise.all(arrived), early, late]);
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
    await gone;
    await Promise.all(parts.map(({ proxy }) => proxy.close()));
  }
  const diedAt = now();
  return parts.map(({ point, tablePrefix, proxy }) => {
    const { tidings } = heard.get(tablePrefix)!;
    return {
      ...{ point, tablePrefix, request: proxy.request },
      isThrough: tidings.some(({ what }) => what === "through"),
      runs: runsOf(tidings, diedAt),
      published: new Set(tidings.flatMap(({ what, order }) => (what === "published" && order ? [order] : []))),
    };
  });
}

function runsOf(tidings: readonly Tidings[], diedAt: number): RunOfOrder[] {
  const runs: RunOfOrder[] = [];
  for (const { what, order, at } of tidings) {
    if (order === undefined || at === undefined) continue;
    if (what === "began") runs.push({ order, startedAt: at, endedAt: diedAt, succeeded: false });
    const run = runs.findLast((one) => one.order === order);
    if (run && (what === "succeeded" || what === "failed")) {
      Object.assign(run, { endedAt: at, succeeded: what === "succeeded" });
    }
  }
  return runs;
}
