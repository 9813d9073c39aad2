import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { claimById, claimDue, releaseCalls, renewCalls } from "../../src/store/claim-calls.js";
import { countSent, deleteSent } from "../../src/store/clean-calls.js";
import { connectionOf, type Database } from "../../src/store/database.js";
import type { Seq } from "../../src/store/dialect.js";
import { dueAmong, dueStreams } from "../../src/store/due-streams.js";
import { fetchDueKeys, fetchHeld, fetchLine, hasOtherKeys, readPayload } from "../../src/store/fetch-stream.js";
import { acquireStream, settleStream, type StreamLease } from "../../src/store/serve-stream.js";
import { type Settled, settleCalls } from "../../src/store/settle-calls.js";
import { databaseIn, describeSome, LEASE_MS, type StoreUnderTest, useStore } from "./support.js";

const CALLS = 20_000;
/** More than a statement has to look at, and far less than there are of any state. */
const MANY = 1000;
/** MariaDB counts what a range holds, though a limit ends it early. */
const READS_OLD_CALLS = new Set(["deleteSent", "countSent"]);

describeSome(`no statement reads all of ${CALLS} calls`, (engine) => {
  const under = useStore(engine, {}, { keepsTables: true });
  let due: { id: string; seq: Seq }[] = [];
  let line: { seq: Seq }[] = [];
  let held: { seq: Seq }[] = [];

  beforeAll(async () => {
    await fill(under);
    const { calls } = under.tables;
    const readSome = (where: string) =>
      under.select<{ id: string; seq: Seq }>(`select id, seq from ${calls} where ${where} order by seq limit 100`);
    due = await readSome("state = 'pending' and strategy = 'publish-on-commit'");
    line = await readSome("state = 'pending' and strategy = 'keep-order' and stream = 'stream 1'");
    held = await readSome("state = 'held' and stream = 'stream 1'");
    for (const rows of [due, line, held]) expect(rows).toHaveLength(100);
  });

  const lease: StreamLease = { stream: "stream 1", token: randomUUID(), fence: 1, isTakenOver: false };
  const leases = (count: number) => due.slice(0, count).map(({ seq }) => ({ seq, token: randomUUID() }));
  const ids = (count: number) => due.slice(0, count).map(({ id }) => id);
  const outcomes: Settled[] = [{ state: "deleted" }, { state: "dead", attempts: 1, error: "no" }];

  const statements: Record<string, (db: Database) => Promise<unknown>> = {
    "claimById, one": (db) => claimById(db, ids(1), LEASE_MS),
    "claimById, many": (db) => claimById(db, ids(100), LEASE_MS),
    claimDue: (db) => claimDue(db, "stream 1", 100, LEASE_MS),
    "claimDue, by a moment": (db) => claimDue(db, "stream 1", 100, LEASE_MS, Date.now()),
    "claimDue, of nothing": (db) => claimDue(db, "no such stream", 100, LEASE_MS),
    renewCalls: (db) => renewCalls(db, leases(100), LEASE_MS),
    releaseCalls: (db) => releaseCalls(db, leases(100), 0),
    "settleCalls, lost": (db) =>
      settleCalls(
        db,
        leases(2).map((one, n) => ({ lease: one, settled: outcomes[n]! })),
      ),
    "settleCalls, held": async (db) => {
      const claimed = await claimDue(db, "stream 1", 60, LEASE_MS);
      expect(claimed).toHaveLength(60);
      const settlements = claimed.map((call, n) => ({ lease: call.lease, settled: outcomes[n % 2]! }));
      expect(await settleCalls(db, settlements)).toEqual([]);
    },
    "settleCalls, of numbers that came as texts": async (db) => {
      const claimed = await claimDue(db, "stream 1", 60, LEASE_MS);
      const settled: Settled = { state: "sent", attempts: 1 };
      const settlements = claimed.map(({ lease: { seq, token } }) => ({ lease: { seq: String(seq), token }, settled }));
      await settleCalls(db, settlements);
    },
    fetchLine: (db) => fetchLine(db, lease, 256),
    hasOtherKeys: (db) => hasOtherKeys(db, lease, [Buffer.from("key 1"), Buffer.from("key 2")]),
    fetchDueKeys: (db) => fetchDueKeys(db, lease, 256),
    "fetchDueKeys, by a moment": (db) => fetchDueKeys(db, lease, 256, Date.now()),
    fetchHeld: (db) => fetchHeld(db, lease, Buffer.from("key 1"), 0, 256),
    readPayload: (db) => readPayload(db, due[0]!.seq),
    dueStreams: (db) => dueStreams(db),
    dueAmong: (db) => dueAmong(db, ["stream 1", "no such stream"]),
    "settleStream, deleting": async (db) => {
      const taken = (await acquireStream(db, "stream 1", LEASE_MS)) as StreamLease;
      const deleted = line.map(({ seq }) => ({ kind: "delete", seq }) as const);
      expect(await settleStream(db, taken, deleted)).toBe(true);
    },
    "settleStream, of every kind": async (db) => {
      const taken = (await acquireStream(db, "stream 1", LEASE_MS)) as StreamLease;
      const head = { seq: held[0]!.seq, attempts: 1, error: "down" };
      const isSettled = await settleStream(db, taken, [
        { kind: "delete", seq: line[0]!.seq },
        { kind: "mark-sent", seq: line[1]!.seq },
        { kind: "set-aside", seqs: line.slice(2).map(({ seq }) => seq) },
        { kind: "hold", state: "blocked", due: { inMs: 0 }, head },
        { kind: "release", key: Buffer.from("key 1") },
      ]);
      expect(isSettled).toBe(true);
    },
    deleteSent: (db) => deleteSent(db, 1000, 1000),
    "deleteSent, of nothing": (db) => deleteSent(db, 10 ** 11, 1000),
    countSent: (db) => countSent(db, 1000),
  };

  test.each(Object.entries(statements))("%s", async (name, run) => {
    const trx = await under.begin();
    const mayReadMany = READS_OLD_CALLS.has(name);
    const { database, scans } = explaining(under, databaseIn(under, trx), mayReadMany ? CALLS : MANY);
    await run(database);
    await trx.rollback();
    expect(scans).toEqual([]);
  });

  test("one that does is found out", async () => {
    const { database, scans } = explaining(under, databaseIn(under, await under.begin()), CALLS);
    await database.query(`select count(*) from ${under.tables.calls} c where c.payload = ?`, ["x"]);
    expect(scans).toHaveLength(1);
  });
});

/** Explains each statement before it runs it, and notes those that read the whole table of calls. */
function explaining({ dialect }: StoreUnderTest, to: Database, most: number): { database: Database; scans: string[] } {
  const scans: string[] = [];
  const query: Database["query"] = async (sql, bindings) => {
    const isScan =
      dialect.family === "postgres"
        ? await to
            .query<{ "QUERY PLAN": unknown }>(`explain (format json) ${sql}`, bindings)
            .then(({ rows }) => hasSequentialScan(rows[0]!["QUERY PLAN"]))
        : await to
            .query<MysqlStep>(`explain ${sql}`, bindings)
            .then(({ rows }) => rows.some((step) => isMysqlScan(step, most)));
    if (isScan) scans.push(sql);
    return to.query(sql, bindings);
  };
  return { database: { ...to, query, transaction: (work) => work({ query }) }, scans };
}

function hasSequentialScan(plan: unknown): boolean {
  if (Array.isArray(plan)) return plan.some(hasSequentialScan);
  if (plan === null || typeof plan !== "object") return false;
  const node = plan as Record<string, unknown>;
  if (node["Node Type"] === "Seq Scan" && node["Relation Name"] === "carteiro_calls") return true;
  return Object.values(node).some(hasSequentialScan);
}

interface MysqlStep {
  table: string | null;
  type: string | null;
  rows: number | null;
}

/** Tables of calls go by these names in our statements; an index read from end to end is a scan as well. */
function isMysqlScan({ table, type, rows }: MysqlStep, most: number): boolean {
  if (!["c", "h", "carteiro_calls"].includes(table ?? "")) return false;
  return type === "ALL" || type === "index" || Number(rows) > most;
}

/** Calls in every state, over seven streams and 300 keys each; the keys of held calls stand aside. */
async function fill({ select, dialect, tables, knex }: StoreUnderTest): Promise<void> {
  const isPostgres = dialect.family === "postgres";
  const digits = Array.from({ length: 10 }, (_, n) => `select ${n} as n`).join(" union all ");
  const tens = isPostgres ? "(n / 10)" : "(n div 10)";
  const text = (prefix: string, expression: string) =>
    isPostgres ? `'${prefix}' || (${expression})` : `concat('${prefix}', ${expression})`;
  const key = text("key ", `${tens} % 300`);
  const state =
    "case when n % 10 in (0, 1, 2, 5) then 'sent' when n % 10 = 3 then 'dead' when n % 10 in (7, 8) then 'held' else 'pending' end";
  await select(
    `insert into ${tables.calls} (id, function_name, stream, strategy, ordering_key, state, due_at, codec, version, headers, payload, created_at, settled_at)
     select ${isPostgres ? "gen_random_uuid()" : "uuid()"}, 'send', ${text("stream ", `${tens} % 7`)},
       case when n % 10 in (5, 6, 7, 8) then 'keep-order' else 'publish-on-commit' end,
       ${isPostgres ? `convert_to(${key}, 'UTF8')` : key}, ${state},
       ${dialect.after("(case when n % 3 = 0 then 1000 else -1000 end) * n")}, 'superjson', 1, '{}', '${"x".repeat(200)}',
       ${dialect.after("-1000 * n")}, case when n % 10 in (0, 1, 2, 3, 5) then ${dialect.after("-1000 * n")} end
     from (select a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n as n
       from (${digits}) a, (${digits}) b, (${digits}) c, (${digits}) d, (${digits}) e) numbers where n < ${CALLS}`,
  );
  await select(
    `insert into ${tables.keys} (stream, ordering_key, state, due_at, since)
     select stream, ordering_key, 'blocked', min(due_at), ${dialect.now} from ${tables.calls} where state = 'held' group by stream, ordering_key`,
  );
  // Not in a transaction, and as one statement each.
  for (const table of [tables.calls, tables.keys]) {
    await connectionOf(knex, dialect).query(isPostgres ? `vacuum analyze ${table}` : `analyze table ${table}`);
  }
}
