import { randomUUID } from "node:crypto";
import type { Database, Sql } from "./database.js";
import { type CallLease, type Dialect, leaseKey, type Seq } from "./dialect.js";
import { payloadAhead } from "./fetch-stream.js";
import { type Column, joinedList, type JoinedRow, selectList, splitRows } from "./joined-rows.js";
import {
  type CallRow,
  callColumns,
  fenceOf,
  ReadCall,
  type Reading,
  readingOf,
  type StoredCall,
} from "./stored-call.js";

/** A publish-on-commit call under a lease of its own. */
export interface ClaimedCall extends StoredCall {
  lease: CallLease;
  /** Its last claim was neither settled nor given back: the process ended, or lost the database, perhaps for this call. */
  isSuspect: boolean;
}

/** One that was read: its lease, too, in one object. */
export class ClaimedReadCall extends ReadCall implements ClaimedCall, CallLease {
  readonly token: string;
  readonly isSuspect: boolean;

  constructor(row: ClaimedRow, dialect: Dialect, reading: Reading, token: string) {
    super(row, dialect, reading);
    this.token = token;
    this.isSuspect = row.former_token !== null;
  }

  get lease(): CallLease {
    return this;
  }
}

/** Where the next claim of a relay may begin: each moves it on. Undefined: at the first call that is due. */
export interface DueFrom {
  place?: { due: string; seq: Seq } | undefined;
}

export interface DueLimits {
  /** (Default: the first call that is due) */
  from?: DueFrom;
  /** The moment by which they were due, on the database's clock. (Default: now) */
  byMs?: number | undefined;
}

/** Claims publish-on-commit calls of a stream that are due, those that waited longest first. */
export function claimDue(
  db: Database,
  stream: string,
  limit: number,
  leaseMs: number,
  { from, byMs }: DueLimits = {},
): Promise<ClaimedCall[]> {
  const { dialect } = db;
  const limits: Sql[] = [
    ...(from?.place
      ? [
          {
            sql: `and (due_at, seq) >= (${EPOCH} + ?::bigint * interval '1 microsecond', ?)`,
            bindings: [from.place.due, from.place.seq],
          },
        ]
      : []),
    ...(byMs === undefined ? [] : [{ sql: `and due_at <= ${dialect.moment("?")}`, bindings: [byMs] }]),
  ];
  const sql = `${dialect.useIndex("calls_due")} where ${CLAIMABLE(db)} and stream = ? and ${notPaused(db, "?")}
    ${limits.map((one) => one.sql).join(" ")} order by due_at, seq`;
  const bindings = [stream, stream, ...limits.flatMap((one) => one.bindings)];
  const claiming = { candidates: { sql, bindings, stream, from }, limit, leaseMs, token: randomUUID() };
  return dialect.joinsRows ? claimInOneStatement(db, claiming) : claimByReadingFirst(db, claiming);
}

/** A call whose process died is due again by itself, when its lease has ended. */
export const CLAIMABLE = ({ dialect }: Database) =>
  `state = 'pending' and strategy = 'publish-on-commit' and due_at <= ${dialect.now}
   and (lease_until is null or lease_until <= ${dialect.now})`;

/**
 * Somebody has claimed the call, and its lease has not ended. The version before this one moved `due_at` to the lease's end,
 * and may have claimed some.
 */
export function isLeased({ now }: Dialect, alias: string): string {
  return `(${alias}.lease_id is not null and coalesce(${alias}.lease_until, ${alias}.due_at) > ${now})`;
}

export function notPaused({ tables }: Database, stream: string): string {
  return `not exists (select 1 from ${tables.streams} s where s.stream = ${stream} and s.paused_at is not null)`;
}

/** The calls to claim, and what is known of them. */
interface Candidates extends Sql {
  stream: string;
  from?: DueFrom | undefined;
}

function columns(dialect: Dialect): Column[] {
  return callColumns(dialect, "c", payloadAhead("c"), ["strategy", "stream", "nowMs"]);
}

export interface ClaimedRow extends CallRow {
  former_token: string | null;
}

interface Claiming {
  candidates: Candidates;
  limit: number;
  leaseMs: number;
  token: string;
}

function readingBy({ candidates: { stream } }: Claiming, nowMs: number | string | undefined): Reading {
  return readingOf(nowMs, { strategy: "publish-on-commit", stream });
}

async function claimInOneStatement(db: Database, claiming: Claiming): Promise<ClaimedCall[]> {
  const { dialect, tables } = db;
  const { candidates, limit, leaseMs, token } = claiming;
  const columnsOfCall = columns(dialect);
  const all = [...columnsOfCall, { name: "former_token", expression: "picked.lease_id", isNullable: true }];
  const isMoving = candidates.from !== undefined;
  // By the row's place, which its lock keeps: the primary key takes a sixth longer.
  const { rows } = await db.query<JoinedRow>(
    `with picked as materialized (select ctid as place, lease_id from ${tables.calls} ${candidates.sql} limit ? for update skip locked),
       claimed as (update ${tables.calls} c set lease_id = ?, lease_until = ${dialect.after("?")}, fence = c.fence + 1
         from picked where c.ctid = picked.place returning ${selectList(all)}${isMoving ? ", c.due_at" : ""})
     select ${dialect.epochMs(dialect.now)} as now_ms, ${joinedList(all)} ${isMoving ? LAST : ""} from claimed`,
    [...candidates.bindings, limit, token, leaseMs],
  );
  const joined = rows[0] as JoinedRow;
  if (candidates.from) candidates.from.place = lastOf(joined);
  const reading = readingBy(claiming, joined["now_ms"] as string);
  const make = (row: ClaimedRow) => new ClaimedReadCall(row, dialect, reading, token);
  return splitRows(joined, all, make) ?? (await readClaimed(db, claiming, joined, reading));
}

const EPOCH = "timestamptz '1970-01-01 00:00:00+00'";
/** In microseconds: how a moment looks as a text is the session's affair, and not every such text can be read again. */
const microseconds = (moment: string) => `(extract(epoch from ${moment}) * 1000000)::bigint::text`;
const LAST = `, ${microseconds("min(due_at)")} as first_due, ${microseconds("max(due_at)")} as last_due, max(seq) as last_seq`;

/** Many calls may be due at one moment: then the last one counts. */
function lastOf({ first_due, last_due, last_seq }: JoinedRow): DueFrom["place"] {
  if (!last_due || !last_seq) return undefined;
  return { due: last_due, seq: first_due === last_due ? last_seq : 0 };
}

/** Calls that cannot be told apart when they are joined: one has a character that nobody should use. */
async function readClaimed(
  db: Database,
  { token }: Claiming,
  joined: JoinedRow,
  reading: Reading,
): Promise<ClaimedCall[]> {
  const { dialect, tables } = db;
  const place: Column[] = [
    { name: "seq", expression: "" },
    { name: "former_token", expression: "", isNullable: true },
  ];
  const claimed = splitRows(joined, place, ({ seq, former_token }: ClaimedRow) => [String(seq), former_token] as const);
  const formerTokens = new Map(claimed);
  const { rows } = await db.query<CallRow>(
    `select ${selectList(columns(dialect))} from ${tables.calls} c where ${dialect.among("c.seq")} and c.lease_id = ?`,
    [dialect.seqs([...formerTokens.keys()]), token],
  );
  return rows.map((row) => {
    const former_token = formerTokens.get(String(row.seq)) ?? null;
    return new ClaimedReadCall({ ...row, former_token }, dialect, reading, token);
  });
}

/** Of what was found some may be taken by another, or locked: each read after the first finds twice as much. */
const MOST_READS = 6;

/** The plain read locks nothing that it passes on its way. */
async function claimByReadingFirst(db: Database, claiming: Claiming): Promise<ClaimedCall[]> {
  const { limit } = claiming;
  const claimed: ClaimedCall[] = [];
  for (let read = 0; read < MOST_READS; read++) {
    const most = limit * 2 ** read;
    const reading = claimFound(db, claiming, most, limit - claimed.length);
    // What was claimed is run, whatever becomes of the rest.
    const { calls, isAll } = await (read === 0 ? reading : reading.catch(() => ({ calls: [], isAll: true })));
    claimed.push(...calls);
    if (isAll || claimed.length === limit) break;
  }
  return claimed;
}

async function claimFound(db: Database, claiming: Claiming, most: number, wanted: number) {
  const { candidates, leaseMs, token } = claiming;
  const { rows: found } = await db.query<Pick<CallRow, "seq">>(
    `select seq from ${db.tables.calls} ${candidates.sql} limit ?`,
    [...candidates.bindings, most],
  );
  if (found.length === 0) return { calls: [], isAll: true };
  const rows = await lockAndClaim(db, {
    sql: `${db.dialect.useIndex("primary")} where ${db.dialect.among("c.seq")} and ${CLAIMABLE(db)}
        order by c.seq limit ?`,
    bindings: [found.map(({ seq }) => seq as number), wanted],
    columns: columns(db.dialect),
    leaseMs,
    token,
  });
  const reading = readingBy(claiming, rows[0]?.now_ms);
  const calls = rows.map((row) => new ClaimedReadCall({ ...row, fence: fenceOf(row) + 1 }, db.dialect, reading, token));
  return { calls, isAll: found.length < most };
}

export interface Locking extends Sql {
  columns: Column[];
  leaseMs: number;
  token: string;
}

/**
 * Where a statement cannot name the rows that it changed. Nothing is waited for: what is not committed yet, and what a person has
 * locked, who would hold up all other claims and, with the connection, the renewals of leases.
 *
 * @returns the rows as they were before the claim, which made their fences higher by one
 */
export async function lockAndClaim(
  db: Database,
  { sql, bindings, columns, leaseMs, token }: Locking,
): Promise<ClaimedRow[]> {
  const { dialect, tables } = db;
  return db.transaction(async (connection) => {
    const { rows } = await connection.query<ClaimedRow>(
      `select ${selectList(columns)}, c.lease_id as former_token, ${dialect.epochMs(dialect.now)} as now_ms
       from ${tables.calls} c ${sql} for update skip locked`,
      bindings,
    );
    if (rows.length === 0) return [];
    await connection.query(
      `update ${tables.calls} ${dialect.useIndex("primary")}
       set lease_id = ?, lease_until = ${dialect.after("?")}, fence = fence + 1 where ${dialect.among("seq")}`,
      [token, leaseMs, rows.map(({ seq }) => seq as number)],
    );
    return rows;
  });
}

/** Moves the end of these leases. @returns the leases that are still held */
export async function renewCalls(db: Database, leases: readonly CallLease[], leaseMs: number): Promise<CallLease[]> {
  if (leases.length === 0) return [];
  const { dialect, tables } = db;
  const held = dialect.held("c", leases);
  await db.query(
    `update ${tables.calls} c ${dialect.useIndex("primary")} set lease_until = ${dialect.after("?")}
     where ${held.sql} and c.state = 'pending'`,
    [leaseMs, ...held.bindings],
  );
  const { rows } = await db.query<CallLease>(
    `select c.seq, c.lease_id as token from ${tables.calls} c where ${held.sql} and c.state = 'pending'`,
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
  const later = delayMs > 0 ? `, due_at = ${dialect.after("?")}` : "";
  await db.query(
    `update ${tables.calls} c ${dialect.useIndex("primary")} set lease_id = null, lease_until = null ${later}
     where ${held.sql} and c.state = 'pending'`,
    [...(delayMs > 0 ? [delayMs] : []), ...held.bindings],
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
     set suspect_runs = suspect_runs + 1, attempts = attempts + ? where seq = ? and lease_id = ? and state = 'pending'
       and lease_until > ${db.dialect.now} and ${notPaused(db, `${db.tables.calls}.stream`)}`,
    [isAlone ? 1 : 0, seq, token],
  );
  return count > 0;
}
