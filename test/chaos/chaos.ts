import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import knex, { type Knex } from "knex";
import { up } from "../../src/store/migrate.js";
import { seeded } from "../support/random.js";
import { startMysql } from "../support/servers/mysql.js";
import { startPostgres } from "../support/servers/postgres.js";
import { check, type CommittedOrder, type DeliveryRun, type Findings } from "./check.js";
import { Company, type Life } from "./company.js";
import { type Entry, readJournal } from "./journal.js";
import { type Mischief, unleash } from "./monkey.js";
import { startChaosProxy } from "./proxy.js";

export type EngineName = "postgresql" | "mariadb";

export interface ChaosOptions {
  engine: EngineName;
  seconds: number;
  seed: number;
}

export interface ChaosResult extends ChaosOptions {
  version: string;
  orders: number;
  calls: number;
  rolledBack: number;
  /** Transactions that ended in an error: some of them were committed. */
  unknown: number;
  leasesLost: number;
  mischief: Mischief;
  findings: Findings;
  /** What else went wrong: a process that ended by itself, or did not stop; calls that were left. */
  faults: string[];
  /** How long it took until nothing was left to run, once all was well. */
  drainMs: number;
  isClean: boolean;
  /** Journals and logs, kept where something is wrong. */
  folder: string | undefined;
}

const LEASE_MS = 1000;
const WRITERS = 2;
const RELAYERS = 3;
const LANES = ["orders", "invoices"].flatMap((stream) =>
  ["ana", "bia", "caio", "davi", "eva", "fabio"].map((key) => `${stream}/${key}`),
);
const STOP_DEADLINE_MS = 60_000;
/** A process that goes on may start a run before it has looked at the clock. */
const WAKING_MS = 200;
/** Of all runs: what a machine without time for its processes may bring about, and a lease that nobody honours exceeds. */
const MOST_UNEXCUSED = 0.05;
const DRAIN_DEADLINE_MS = 120_000;

/** Runs the application under chaos on a server of its own, lets it recover, and looks at what became of every call. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { engine, seconds, seed } = options;
  const client = engine === "postgresql" ? "pg" : "mysql2";
  const folder = mkdtempSync(join(tmpdir(), `carteiro-chaos-${engine}-`));
  const server = await (engine === "postgresql" ? startPostgres() : startMysql());
  const log = { warn() {}, error() {}, deprecate() {}, debug() {} };
  const connect = (url: string) => knex({ client, connection: url, log, pool: { min: 0, max: 2 } });
  const admin = connect(server.url);
  const database = await createDatabase(admin, server.url);
  const db = connect(database);
  const kill = (backend: number) => {
    // It may be gone, and so may be the server.
    void admin.raw(client === "pg" ? "select pg_terminate_backend(?)" : "kill ?", [backend]).catch(() => undefined);
  };
  const proxy = await startChaosProxy(database, kill);
  const company = new Company(folder, seed);
  const faults: string[] = [];
  let isClean = false;
  try {
    await up(db);
    await createTables(db);
    const post = { client, url: proxy.url, leaseMs: LEASE_MS, lanes: LANES } as const;
    await Promise.all([
      ...Array.from({ length: WRITERS }, () => company.hire({ ...post, role: "writer" })),
      ...Array.from({ length: RELAYERS }, () => company.hire({ ...post, role: "relayer" })),
    ]);
    const parts = { random: seeded(seed), company, proxy, server, leaseMs: LEASE_MS, kill };
    const mischief = await unleash(parts, seconds * 1000);

    faults.push(...stuck(await company.dismiss("writer", STOP_DEADLINE_MS)));
    const healedAt = performance.now();
    faults.push(...(await drain(db)));
    const drainMs = performance.now() - healedAt;
    faults.push(...stuck(await company.dismiss("relayer", STOP_DEADLINE_MS)));
    await company.close();
    faults.push(...company.lives.flatMap(({ fault }) => fault ?? []));

    const orders = await readOrders(db);
    const { runs, count } = readRuns(company.lives);
    const findings = check(orders, runs);
    const { lost, phantoms, inversions, overlaps, unexcused, vain } = findings;
    faults.push(...vain);
    if (unexcused > Math.max(5, MOST_UNEXCUSED * runs.length)) {
      faults.push(`${unexcused} runs went on, or began, after a takeover though their processes were not frozen`);
    }
    isClean = [...faults, ...lost, ...phantoms, ...inversions, ...overlaps].length === 0;
    return {
      ...options,
      ...{ version: server.version, mischief, findings, faults, drainMs, isClean },
      orders: orders.length,
      calls: orders.length + orders.filter(({ isNotified }) => isNotified).length,
      rolledBack: count("rolled back"),
      unknown: count("unknown"),
      leasesLost: count("lease lost"),
      folder: isClean ? undefined : folder,
    };
  } finally {
    await company.close();
    await proxy.close();
    await Promise.all([admin.destroy(), db.destroy()]);
    const serverLog = join(server.folder, "server.log");
    if (existsSync(serverLog)) copyFileSync(serverLog, join(folder, "server.log"));
    await server.stop("immediate");
    if (isClean) rmSync(folder, { recursive: true });
  }
}

async function createDatabase(admin: Knex, serverUrl: string): Promise<string> {
  await admin.raw("create database chaos");
  const url = new URL(serverUrl);
  url.pathname = "/chaos";
  return url.href;
}

async function createTables(db: Knex): Promise<void> {
  await db.schema.createTable("lanes", (table) => {
    table.string("lane").primary();
    table.integer("orders").notNullable();
  });
  await db.schema.createTable("orders", (table) => {
    table.string("id").primary();
    table.string("lane").notNullable();
    table.integer("place").notNullable();
    table.boolean("is_notified").notNullable();
  });
  await db("lanes").insert(LANES.map((lane) => ({ lane, orders: 0 })));
}

/** Waits until no call is left. @returns what is left all the same */
async function drain(db: Knex): Promise<string[]> {
  const deadline = performance.now() + DRAIN_DEADLINE_MS;
  for (;;) {
    // The pool may still have connections that a restart has broken.
    const rows = await db<Record<string, unknown>>("carteiro_calls")
      .select("seq", "id", "function_name", "state", "attempts", "due_at", "lease_id", "last_error")
      .orderBy("seq")
      .catch(() => undefined);
    if (rows?.length === 0) return [];
    if (performance.now() > deadline) return [`calls are left: ${JSON.stringify(rows?.slice(0, 5))}`];
    await delay(100);
  }
}

function stuck(lives: readonly Life[]): string[] {
  return lives.map(
    ({ role, pid, log }) => `a ${role} (pid ${pid}, ${log}) had not stopped after ${STOP_DEADLINE_MS} ms`,
  );
}

async function readOrders(db: Knex): Promise<CommittedOrder[]> {
  const rows = await db<{ id: string; lane: string; place: number; is_notified: boolean | number }>("orders").select();
  return rows.map(({ id, lane, place, is_notified }) => ({ id, lane, place, isNotified: Boolean(is_notified) }));
}

function readRuns(lives: readonly Life[]) {
  const runs: DeliveryRun[] = [];
  const counts = new Map<Entry["what"], number>();
  for (const { journal, diedAt, pid, freezes } of lives) {
    const byNumber = new Map<number, DeliveryRun>();
    for (const entry of readJournal(journal)) {
      counts.set(entry.what, (counts.get(entry.what) ?? 0) + 1);
      if (entry.what === "began") {
        const { n, at, order, kind, fence } = entry;
        const run = { order, kind, fence, pid, startedAt: at, endedAt: diedAt, succeeded: false, wasFrozen: false };
        byNumber.set(n, run);
        runs.push(run);
      } else if (entry.what === "ended") {
        Object.assign(byNumber.get(entry.n)!, { endedAt: entry.at, succeeded: entry.succeeded });
      }
    }
    for (const run of byNumber.values()) {
      run.wasFrozen = freezes.some(({ from, to }) => from <= run.endedAt && to >= run.startedAt - WAKING_MS);
    }
  }
  return { runs, count: (what: Entry["what"]) => counts.get(what) ?? 0 };
}

/** Writes what is needed to look into a run that went wrong, next to its journals. */
export function keepFindings(result: ChaosResult): void {
  if (result.folder) writeFileSync(join(result.folder, "result.json"), JSON.stringify(result, undefined, 1));
}
