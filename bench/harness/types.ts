/**
 * The words of the bench. A *scenario* is one question, such as how fast a backlog is drained. Its *contenders* answer it, each in
 * a process of its own: ours, peers, and the limit, which is the driver alone. A *metric* is one number of a contender's round.
 */
import type { Knex } from "knex";

export type Engine = "postgresql" | "mysql";

export const engines: readonly Engine[] = ["postgresql", "mysql"];

export type Metrics = Record<string, number>;

/** Where a contender is measured, and how much of it. */
export interface Ground {
  engine: Engine;
  /** Of a database of its own. */
  url: string;
  /** Calls, or samples, of a round that has a number of them. */
  calls: number;
  /** How long a round takes that has a duration. */
  roundMs: number;
}

/** What a contender's file does, in the contender's process. */
export interface Contender {
  /** Before each round: not measured. */
  prepare?(): Promise<unknown>;
  /** One round. */
  measure(): Promise<Metrics>;
  close(): Promise<unknown>;
}

/** What a contender's file exports as `open`. */
export type OpenContender<Options = undefined> = (ground: Ground, options: Options) => Promise<Contender>;

export interface ContenderPlan {
  name: string;
  role: "ours" | "peer" | "limit";
  /** Its file in `contenders/`, without the extension. */
  file: string;
  /** Handed to its `open`; plain JSON. */
  options?: unknown;
  /** The part of a round's calls that it gets, where all would take minutes. A rate does not mind. (Default: 1) */
  share?: number;
  /** (Default: those of the scenario) */
  engines?: readonly Engine[];
  /** Where its figure stands in a scenario whose sizes grow. */
  at?: { series: string; size: number };
}

/** `atLeast` or `atMost` times what `against` reaches. */
export interface Target {
  contender: string;
  /** (Default: none; `atLeast` and `atMost` are figures themselves) */
  against?: string;
  /** (Default: the scenario's first) */
  metric?: string;
  atLeast?: number;
  atMost?: number;
  /** Without `atLeast` and `atMost` the ratio is shown alone. (Default: all) */
  engines?: readonly Engine[];
}

export interface Scenario {
  name: string;
  title: string;
  /** Of all its metrics. */
  unit: string;
  /** (Default: `rate`) */
  metrics?: readonly string[];
  /** (Default: PostgreSQL) */
  engines?: readonly Engine[];
  /** (Default: 0, of a scenario whose rounds have a duration) */
  calls?: number;
  /** (Default: 0, of a scenario whose rounds have a number of calls) */
  roundMs?: number;
  /** After the warm-up. (Default: 5) */
  rounds?: number;
  /** Whether there is a round before the first one, which counts for nothing. (Default: `true`) */
  warmsUp?: boolean;
  contenders: readonly ContenderPlan[];
  targets: readonly Target[];
  /** What grows from contender to contender of a series: the chart has a line for each series, and this below. (Default: nothing) */
  growth?: string;
  /** What the reader should know to judge the figures. */
  notes?: readonly string[];
  /** What the fast subset measures of it. (Default: nothing) */
  quick?: { contenders: readonly string[]; calls?: number; roundMs?: number };
}

/** A server of the benchmark's own. */
export interface BenchServer {
  /** Such as `PostgreSQL 15.6`. */
  readonly title: string;
  readonly engine: Engine;
  readonly isPostgres: boolean;
  /** @returns the address of a new, empty database */
  newDatabase(name: string): Promise<string>;
  /** On a database that all of them share. */
  newKnex(connections: number): Knex;
}
