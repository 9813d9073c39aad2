import type { Connection, Database, Sql } from "./database.js";
import { type CallLease, type Dialect, leaseKey } from "./dialect.js";

/** What a settled call becomes. `error` is a clean text. */
export type Settled =
  | { state: "deleted" }
  | { state: "sent"; attempts: number }
  | { state: "pending"; attempts: number; delayMs: number; error: string }
  | { state: "dead"; attempts: number; error: string };

export interface CallSettlement {
  lease: CallLease;
  settled: Settled;
}

/**
 * Writes down the outcomes of publish-on-commit runs, all of them or none, each only while its claim's token is still on
 * the row.
 *
 * @returns the settlements that found their token gone, and changed nothing
 */
export async function settleCalls(db: Database, settlements: readonly CallSettlement[]): Promise<CallSettlement[]> {
  if (settlements.length === 0) return [];
  const done = db.dialect.returning
    ? await settleInOneStatement(db, settlements)
    : await db.transaction((connection) => settleLocked(db, connection, settlements));
  // By token, too: a process that lost a call and claimed it again may settle both of its runs together.
  const keys = new Set(done.map(leaseKey));
  return settlements.filter(({ lease }) => !keys.has(leaseKey(lease)));
}

async function settleInOneStatement(db: Database, settlements: readonly CallSettlement[]): Promise<CallLease[]> {
  const { dialect, tables } = db;
  const [deleted, kept] = split(settlements);
  const parts: Sql[] = [];
  if (deleted.length > 0) {
    const held = dialect.held("c", leasesOf(deleted));
    const sql = `delete from ${tables.calls} c where ${held.sql} and c.state = 'pending' returning c.seq, c.lease_token as token`;
    parts.push({ sql, bindings: held.bindings });
  }
  if (kept.length > 0) {
    const u = settledRows(dialect, kept);
    const sql = `${dialect.updateFrom(tables.calls, u, assignments(dialect))}
      c.lease_token = u.token and c.state = 'pending' returning c.seq, u.token`;
    parts.push({ sql, bindings: u.bindings });
  }
  const sql =
    parts.length === 1
      ? parts[0]?.sql
      : `with ${parts.map((part, n) => `p${n} as (${part.sql})`).join(", ")} ${parts.map((_, n) => `select * from p${n}`).join(" union all ")}`;
  const { rows } = await db.query<CallLease>(
    sql as string,
    parts.flatMap((part) => part.bindings),
  );
  return rows;
}

/** Where a statement cannot say which rows it changed, the rows are locked first, in the order of the primary key. */
async function settleLocked(
  db: Database,
  connection: Connection,
  settlements: readonly CallSettlement[],
): Promise<CallLease[]> {
  const { dialect, tables } = db;
  const held = dialect.held("c", leasesOf(settlements));
  const { rows } = await connection.query<CallLease>(
    `select c.seq, c.lease_token as token from ${tables.calls} c ${dialect.useIndex("primary")}
     where ${held.sql} and c.state = 'pending' order by c.seq for update`,
    held.bindings,
  );
  const keys = new Set(rows.map(leaseKey));
  const [deleted, kept] = split(settlements.filter(({ lease }) => keys.has(leaseKey(lease))));
  if (deleted.length > 0) {
    const { sql, bindings } = dialect.deleteBySeq(
      tables.calls,
      leasesOf(deleted).map(({ seq }) => seq),
    );
    await connection.query(sql, bindings);
  }
  if (kept.length > 0) {
    const u = settledRows(dialect, kept);
    await connection.query(`${dialect.updateFrom(tables.calls, u, assignments(dialect))} true`, u.bindings);
  }
  return rows;
}

function split(settlements: readonly CallSettlement[]): [deleted: CallSettlement[], kept: CallSettlement[]] {
  const those = (isDeleted: boolean) =>
    settlements.filter(({ settled }) => (settled.state === "deleted") === isDeleted);
  return [those(true), those(false)];
}

function leasesOf(settlements: readonly CallSettlement[]): CallLease[] {
  return settlements.map(({ lease }) => lease);
}

/** What the calls that stay become, as a table `u`. */
function settledRows(dialect: Dialect, settlements: readonly CallSettlement[]): Sql {
  const rows = settlements.map(({ lease, settled }) => [
    lease.seq,
    lease.token,
    settled.state,
    "attempts" in settled ? settled.attempts : 0,
    "delayMs" in settled ? settled.delayMs : 0,
    "error" in settled ? settled.error : null,
  ]);
  return dialect.rowset(
    "u",
    { seq: "seq", token: "uuid", state: "text", attempts: "int", delay_ms: "ms", error: "text" },
    rows,
  );
}

function assignments(dialect: Dialect): Record<string, string> {
  return {
    state: "u.state",
    attempts: "u.attempts",
    suspect_runs: "0",
    last_error: "coalesce(u.error, c.last_error)",
    lease_token: "null",
    due_at: dialect.after("u.delay_ms"),
    settled_at: `case when u.state = 'pending' then null else ${dialect.now} end`,
  };
}
