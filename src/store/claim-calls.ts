import { randomUUID } from "node:crypto";
import type { Database, Sql } from "./database.js";
import { type CallLease, type Dialect, leaseKey } from "./dialect.js";
import { payloadAhead } from "./fetch-stream.js";
import { type CallRow, callColumns, type StoredCall, toStoredCall } from "./stored-call.js";

/** A publish-on-commit call under a lease of its own. */
export interface ClaimedCall extends StoredCall {
  lease: CallLease;
  /** Its last claim was neither settled nor given back: the process ended, or lost the database, perhaps for this call. */
  isSuspect: boolean;
}

/**
 * Claims calls that a commit was hinted for. A hint may be false, and a relay may have been faster: what is not there, not
 * pending or not due is left out.
 */
export async function claimById(db: Database, ids: readonly string[], leaseMs: number): Promise<ClaimedCall[]> {
  if (ids.length === 0) return [];
  const sql = `${db.dialect.useIndex("calls_id")} where ${db.dialect.among("id")} and ${CLAIMABLE(db)}
    and ${notPaused(db, `${db.tables.calls}.stream`)}`;
  return claim(db, { sql, bindings: [ids] }, ids.length, leaseMs);
}

/** Claims publish-on-commit calls of a stream that were due by a moment, those that waited longest first. */
export function claimDue(
  db: Database,
  stream: string,
  limit: number,
  leaseMs: number,
  dueByMs?: number,
): Promise<ClaimedCall[]> {
  const byThen = dueByMs === undefined ? "" : `and due_at <= ${db.dialect.moment("?")}`;
  const bindings = dueByMs === undefined ? [stream, stream] : [stream, stream, dueByMs];
  const sql = `${db.dialect.useIndex("calls_due")} where ${CLAIMABLE(db)} and stream = ? and ${notPaused(db, "?")} ${byThen}
    order by due_at, seq`;
  return claim(db, { sql, bindings }, limit, leaseMs);
}

/** A claim moves `due_at` to the lease's end: a call whose process died is due again by itself, in the same index. */
const CLAIMABLE = ({ dialect }: Database) =>
  `state = 'pending' and strategy = 'publish-on-commit' and due_at <= ${dialect.now}`;

function notPaused({ tables }: Database, stream: string): string {
  return `not exists (select 1 from ${tables.streams} s where s.stream = ${stream} and s.paused_at is not null)`;
}

function columns(dialect: Dialect): string {
  return callColumns(dialect, "c", payloadAhead("c"), ["strategy"]);
}

interface ClaimedRow extends CallRow {
  former_token: string | null;
}

async function claim(db: Database, candidates: Sql, limit: number, leaseMs: number): Promise<ClaimedCall[]> {
  const token = randomUUID();
  const rows = db.dialect.returning
    ? await claimInOneStatement(db, candidates, limit, leaseMs, token)
    : await claimByReadingFirst(db, candidates, limit, leaseMs, token);
  return rows.map((row) => ({
    ...toStoredCall(row, { strategy: "publish-on-commit" }),
    lease: { seq: row.seq, token },
    isSuspect: row.former_token !== null,
  }));
}

async function claimInOneStatement(
  db: Database,
  { sql, bindings }: Sql,
  limit: number,
  leaseMs: number,
  token: string,
) {
  const { dialect, tables } = db;
  const { rows } = await db.query<ClaimedRow>(
    `with picked as materialized (select seq, lease_token from ${tables.calls} ${sql} limit ? for update skip locked)
     update ${tables.calls} c set lease_token = ?, due_at = ${dialect.after("?")}, fence = c.fence + 1
     from picked where c.seq = picked.seq returning ${columns(dialect)}, picked.lease_token as former_token`,
    [...bindings, limit, token, leaseMs],
  );
  return rows;
}

/** A claimer that finds all that it read taken by another reads again, at most so often. */
const MOST_READS = 10;

/**
 * A plain read, then an update by primary key that takes what is still there: no gap is locked, and two claimers that read
 * the same rows share them out between them.
 */
async function claimByReadingFirst(db: Database, candidates: Sql, limit: number, leaseMs: number, token: string) {
  for (let read = 1; read <= MOST_READS; read++) {
    const found = await readCandidates(db, candidates, limit);
    if (found.size === 0) return [];
    const rows = await claimSeqs(db, [...found.keys()], leaseMs, token);
    if (rows.length > 0) return rows.map((row) => ({ ...row, former_token: found.get(row.seq as number) ?? null }));
  }
  return [];
}

/** @returns the tokens of their former leases, by `seq` */
async function readCandidates(db: Database, { sql, bindings }: Sql, limit: number) {
  const { rows } = await db.query<{ seq: number; lease_token: string | null }>(
    `select seq, lease_token from ${db.tables.calls} ${sql} limit ?`,
    [...bindings, limit],
  );
  return new Map(rows.map((row) => [row.seq, row.lease_token]));
}

async function claimSeqs(db: Database, seqs: number[], leaseMs: number, token: string): Promise<CallRow[]> {
  const { dialect, tables } = db;
  const { count } = await db.query(
    `update ${tables.calls} ${dialect.useIndex("primary")}
     set lease_token = ?, due_at = ${dialect.after("?")}, fence = fence + 1
     where ${dialect.among("seq")} and ${CLAIMABLE(db)}`,
    [token, leaseMs, seqs],
  );
  if (count === 0) return [];
  const { rows } = await db.query<CallRow>(
    `select ${columns(dialect)} from ${tables.calls} c where ${dialect.among("c.seq")} and c.lease_token = ?`,
    [seqs, token],
  );
  return rows;
}

/** Moves the end of these leases. @returns the leases that are still held */
export async function renewCalls(db: Database, leases: readonly CallLease[], leaseMs: number): Promise<CallLease[]> {
  if (leases.length === 0) return [];
  const { dialect, tables } = db;
  const held = dialect.held("c", leases);
  await db.query(
    `update ${tables.calls} c ${dialect.useIndex("primary")} set due_at = ${dialect.after("?")}
     where ${held.sql} and c.state = 'pending'`,
    [leaseMs, ...held.bindings],
  );
  const { rows } = await db.query<CallLease>(
    `select c.seq, c.lease_token as token from ${tables.calls} c where ${held.sql} and c.state = 'pending'`,
    held.bindings,
  );
  const keys = new Set(rows.map(leaseKey));
  return leases.filter((lease) => keys.has(leaseKey(lease)));
}

/** Gives claimed calls back unrun, due again in `delayMs`. Nothing is counted. */
export async function releaseCalls(db: Database, leases: readonly CallLease[], delayMs: number): Promise<void> {
  if (leases.length === 0) return;
  const { dialect, tables } = db;
  const held = dialect.held("c", leases);
  await db.query(
    `update ${tables.calls} c ${dialect.useIndex("primary")} set lease_token = null, due_at = ${dialect.after("?")}
     where ${held.sql} and c.state = 'pending'`,
    [delayMs, ...held.bindings],
  );
}

/**
 * Lets the leases of suspects end in `delayMs`, unrun: whoever claims them next has the same suspicion. Nothing is counted.
 */
export async function endLeases(db: Database, leases: readonly CallLease[], delayMs: number): Promise<void> {
  await renewCalls(db, leases, delayMs);
}

/**
 * Writes down, before a suspect is run, that this may end the process.
 *
 * @returns false where its lease is lost, or has ended, which whoever was stopped for a while does not know; or its stream is paused
 */
export async function beginSuspect(db: Database, { seq, token }: CallLease, isAlone: boolean): Promise<boolean> {
  const { count } = await db.query(
    `update ${db.tables.calls} ${db.dialect.useIndex("primary")}
     set suspect_runs = suspect_runs + 1, attempts = attempts + ? where seq = ? and lease_token = ? and state = 'pending'
       and due_at > ${db.dialect.now} and ${notPaused(db, `${db.tables.calls}.stream`)}`,
    [isAlone ? 1 : 0, seq, token],
  );
  return count > 0;
}
