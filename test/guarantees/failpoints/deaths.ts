import { afterAll, beforeAll, expect } from "vitest";
import type { Strategy } from "../../../src/index.js";
import type { Engine, TestDatabase } from "../../support/databases.js";
import { killAt, type Point, type Victim } from "./cohort.js";
import { type ScenarioName, scenarios } from "./scenarios.js";
import { prepare, takeOver } from "./survivor.js";
import { INNOCENT, judge } from "./verdict.js";

/** Not lost by a process that the machine has no time for: after the death it is ended by hand. */
const LONG_LEASE_MS = 60_000;
/** Each has two connections or three to the server that all tests share. */
const POINTS_AT_ONCE = 24;
const MOST_TIMES = 4;

export interface Deaths {
  /** Kills a process in the scenario, at each of these points, and expects that nothing comes of it. */
  die(scenario: ScenarioName, strategy: Strategy, points: readonly Point[]): Promise<Victim[]>;
  /**
   * The same before and after every request, until the scenario comes to its end.
   *
   * @param passes statements that are among the requests
   */
  dieEverywhere(scenario: ScenarioName, strategy: Strategy, passes: readonly RegExp[]): Promise<void>;
}

/** Real deaths, on a database of the engine's. */
export function useDeaths(engine: Engine): Deaths {
  let database: TestDatabase;
  let unmigrated = 0;

  beforeAll(async () => {
    database = await engine.create();
  });
  afterAll(() => database.close());

  async function die(scenario: ScenarioName, strategy: Strategy, points: readonly Point[]): Promise<Victim[]> {
    const { client, url } = database.connection!;
    const places = points.map((point, index) => ({
      point,
      tablePrefix: scenario === "migrate" ? `m${++unmigrated}_` : `p${index}_`,
    }));
    const { lease } = scenarios[scenario];
    const leaseMs = lease?.ms ?? LONG_LEASE_MS;
    const tables = { knex: database.knex, strategy, leaseMs };
    const before = await Promise.all(places.map(({ tablePrefix }) => prepare({ ...tables, tablePrefix }, scenario)));
    const victims = await killAt({ url, client, scenario, strategy, leaseMs }, places);
    await Promise.all(
      victims.map(async (victim, index) => {
        const { point, request, tablePrefix } = victim;
        const aftermath = {
          before: before[index]!,
          ...(await takeOver({ ...tables, leaseMs: LONG_LEASE_MS, tablePrefix }, lease === undefined)),
        };
        expect(judge(strategy, victim, aftermath), `${JSON.stringify(point)} ${request}`).toEqual(INNOCENT);
      }),
    );
    return victims;
  }

  async function dieEverywhere(scenario: ScenarioName, strategy: Strategy, passes: readonly RegExp[]): Promise<void> {
    const requests: string[] = [];
    const isMissed = (statement: RegExp) => !requests.some((request) => statement.test(request));
    // Two connections share the count: a request may come a place earlier in one play, and a place later in the next one.
    for (let time = 1; time <= MOST_TIMES && passes.some(isMissed); time++) {
      requests.push(...(await dieAtEach(scenario, strategy)));
    }
    for (const statement of passes) expect(requests, "died at it").toContainEqual(expect.stringMatching(statement));
  }

  async function dieAtEach(scenario: ScenarioName, strategy: Strategy): Promise<string[]> {
    const requests: string[] = [];
    for (let first = 1; ; first += POINTS_AT_ONCE / 2) {
      const steps = Array.from({ length: POINTS_AT_ONCE / 2 }, (_, index) => first + index);
      const points = steps.flatMap((request): Point[] => [
        { request, moment: "before" },
        { request, moment: "after" },
      ]);
      const victims = await die(scenario, strategy, points);
      requests.push(...victims.map(({ request }) => request));
      if (victims.slice(-2).every(({ isThrough }) => isThrough)) return requests;
    }
  }

  return { die, dieEverywhere };
}
