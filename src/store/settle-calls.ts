import type { Connection, Database, Sql } from "./database.js";
import { type CallLease, type Dialect, leaseKey, seqsByToken } from "./dialect.js";

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
  return db.dialect.returning ? settleInOneStatement(db, settlements) : settleInTransaction(db, settlements);
}

/** It names what it has settled only where that is not all: to read 500 names takes longer than to send them. */
async function settleInOneStatement(db: Database, settlements: readonly CallSettlement[]): Promise<CallSettlement[]> {
  const { dialect, tables } = db;
  const [deleted, kept] = split(settlements);
  const parts: Sql[] = [];
  if (deleted.length > 0) {
    const held = dialect.held("c", leasesOf(deleted));
    const sql = `delete from ${tables.calls} c where ${held.sql} and c.state = 'pending' returning c.seq, c.lease_id as token`;
    parts.push({ sql, bindings: held.bindings });
  }
  if (kept.length > 0) {
    const u = settledRows(dialect, kept);
    const sql = `${dialect.updateFrom(tables.calls, u, assignments(dialect))}
      c.lease_id = u.token and c.state = 'pending' returning c.seq, u.token`;
    parts.push({ sql, bindings: u.bindings });
  }
  const done = parts.map((_, n) => `select * from p${n}`).join(" union all ");
  const { rows } = await db.query<{ names: string | null }>(
    `with ${parts.map(({ sql }, n) => `p${n} as (${sql})`).join(", ")}
     select case when count(*) < ? then coalesce(${dialect.joined("seq || ' ' || token")}, '') end as names from (${done}) done`,
    [...parts.flatMap(({ bindings }) => bindings), settlements.length],
  );
  const names = rows[0]?.names ?? undefined;
  return names === undefined ? [] : lostAmong(settlements, names.split(","));
}

/** By token, too: a process that lost a call and claimed it again may settle both of its runs together. */
function lostAmong(settlements: readonly CallSettlement[], settled: readonly string[]): CallSettlement[] {
  const names = new Set(settled);
  return settlements.filter(({ lease }) => !names.has(leaseKey(lease)));
}

/** Where a statement cannot name the rows that it changed, they are locked first; unless it says that it has found all of them. */
async function settleInTransaction(db: Database, settlements: readonly CallSettlement[]): Promise<CallSettlement[]> {
  if (await deleteAll(db, settlements)) return [];
  return db.transaction((connection) => settleLocked(db, connection, settlements));
}

/** Calls that were claimed together are deleted together. */
const MOST_DELETES = 8;

/** @returns false where that is not all that is to be done, or some are not there any more; nothing is deleted then */
async function deleteAll(db: Database, settlements: readonly CallSettlement[]): Promise<boolean> {
  const { dialect, tables } = db;
  if (settlements.some(({ settled }) => settled.state !== "deleted")) return false;
  const byToken = seqsByToken(leasesOf(settlements));
  if (byToken.size > MOST_DELETES) return false;
  try {
    await db.transaction(async (connection) => {
      for (const [token, seqs] of byToken) {
        const inOrder = seqs.toSorted((a, b) => Number(a) - Number(b));
        const { sql, bindings } = dialect.deleteBySeq(tables.calls, inOrder, "c.lease_id = ? and c.state = 'pending'");
        const { count } = await connection.query(sql, [...bindings, token]);
        if (count !== seqs.length) throw new NotAllError();
      }
    });
    return true;
  } catch (error) {
    if (error instanceof NotAllError) return false;
    throw error;
  }
}

/** Rolls back what has found only some of its rows. */
class NotAllError extends Error {}

/** The rows are locked in the order of the primary key. */
async function settleLocked(
  db: Database,
  connection: Connection,
  settlements: readonly CallSettlement[],
): Promise<CallSettlement[]> {
  const { dialect, tables } = db;
  const held = dialect.held("c", leasesOf(settlements));
  const { rows } = await connection.query<CallLease>(
    `select c.seq, c.lease_id as token from ${tables.calls} c ${dialect.useIndex("primary")}
     where ${held.sql} and c.state = 'pending' order by c.seq for update`,
    held.bindings,
  );
  const names = rows.map(leaseKey);
  const lost = lostAmong(settlements, names);
  const [deleted, kept] = split(settlements.filter((settlement) => !lost.includes(settlement)));
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
  return lost;
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
    lease_id: "null",
    lease_until: "null",
    due_at: dialect.after("u.delay_ms"),
    settled_at: `case when u.state = 'pending' then null else ${dialect.now} end`,
  };
}
