import type { Database } from "./database.js";
import { type Dialect, isTrue, type Seq } from "./dialect.js";
import {
  type CallRow,
  callColumns,
  ReadCall,
  type Reading,
  readingOf,
  type StoredCall,
  toBuffer,
} from "./stored-call.js";
import { selectList } from "./joined-rows.js";
import { keyOf } from "./key-name.js";
import type { StreamLease } from "./serve-stream.js";

/** A keep-order call as a pass meets it. */
export interface QueuedCall extends StoredCall {
  /** Its ordering key: see `nameOf`. */
  keyName: string;
  isDue: boolean;
}

/** Payloads up to this size are read with their call, larger ones when their turn comes: 500 calls bring at most 4 MiB. */
export const READ_AHEAD_BYTES = 8 * 1024;

export interface QueuedRow extends CallRow {
  is_due: boolean | number;
}

/** One that was read. */
export class QueuedReadCall extends ReadCall implements QueuedCall {
  readonly isDue: boolean;

  constructor(row: CallRow, dialect: Dialect, reading: Reading, isDue: boolean) {
    super(row, dialect, reading);
    this.isDue = isDue;
  }
}

/** What stands in line, in order. `aside`: calls whose key was set aside before; more than asked for where there is nothing else. */
export interface Fetched {
  calls: QueuedCall[];
  aside: { seq: Seq; key: Buffer }[];
}

/**
 * Reads the line of a stream from its head, by a plain consistent read: a locking or skipping scan can return a key's second
 * call without its first (seen on MariaDB), and a cursor would pass over a smaller `seq` that commits later.
 */
export async function fetchLine(db: Database, lease: StreamLease, limit: number): Promise<Fetched> {
  const { dialect, tables } = db;
  const { rows } = await db.query<QueuedRow & { is_aside: boolean | number }>(
    `select ${queuedColumns(db, "k.stream is null")}, k.stream is not null as is_aside
     from ${tables.calls} c ${dialect.useIndex("calls_line")}
     left join ${keyOfCall(db)}
     where c.state = 'pending' and c.strategy = 'keep-order' and c.stream = ? order by c.seq limit ?`,
    [lease.stream, limit],
  );
  const calls: QueuedCall[] = [];
  const aside: Fetched["aside"] = [];
  for (const row of rows) {
    if (isTrue(row.is_aside)) aside.push({ seq: row.seq, key: keyOf(dialect.keyName(row.ordering_key)) });
    else calls.push(toQueuedCall(db, row, lease));
  }
  return aside.length === limit ? { calls, aside: await fetchAside(db, lease) } : { calls, aside };
}

/** At 256 at once, 100,000 calls that were saved before their head was met took more than twice as long to leave the line (seen). */
const MOST_ASIDE = 4000;

/**
 * A line that begins with nothing but calls set aside may go on so. Read anew from its head: behind those that another
 * statement has read, a key's later call could be seen without an earlier one that was committed in between.
 */
async function fetchAside(db: Database, lease: StreamLease): Promise<Fetched["aside"]> {
  const { dialect, tables } = db;
  const { rows } = await db.query<{ seq: Seq; ordering_key: Uint8Array }>(
    `select c.seq, c.ordering_key from (
       select seq, stream, ordering_key from ${tables.calls} ${dialect.useIndex("calls_line")}
       where state = 'pending' and strategy = 'keep-order' and stream = ? order by seq limit ?) c
     join ${keyOfCall(db)}`,
    [lease.stream, MOST_ASIDE],
  );
  return rows.map(({ seq, ordering_key }) => ({ seq, key: toBuffer(ordering_key) }));
}

/** Whether the line has a call of another key than these. */
export async function hasOtherKeys(db: Database, lease: StreamLease, keys: readonly Buffer[]): Promise<boolean> {
  const isOther = keys.length > 0 ? `and not ${db.dialect.among("c.ordering_key")}` : "";
  const { rows } = await db.query(
    `select 1 from ${db.tables.calls} c ${db.dialect.useIndex("calls_line")}
     where c.state = 'pending' and c.strategy = 'keep-order' and c.stream = ? ${isOther} limit 1`,
    keys.length > 0 ? [lease.stream, keys] : [lease.stream],
  );
  return rows.length > 0;
}

/** A key that stands aside and is due, with its head; without one where the key has nothing left. */
export interface DueKey {
  key: Buffer;
  head?: QueuedCall;
}

/** The keys that stand aside and are due, except some, those that waited longest first. */
export async function fetchDueKeys(
  db: Database,
  lease: StreamLease,
  limit: number,
  dueByMs?: number,
  except: readonly Buffer[] = [],
): Promise<DueKey[]> {
  const { dialect, tables } = db;
  const others = except.length > 0 ? `and not ${dialect.among("ordering_key")}` : "";
  const byThen = dueByMs === undefined ? "" : `and due_at <= ${dialect.moment("?")}`;
  const { rows } = await db.query<QueuedRow & { held_key: Uint8Array }>(
    `select ${queuedColumns(db)}, k.ordering_key as held_key
     from (select stream, ordering_key, due_at from ${tables.keys} where stream = ? and due_at <= ${dialect.now} ${byThen} ${others} order by due_at limit ?) k
     left join ${tables.calls} c on c.seq = ${headOf(db, "k")}
     order by k.due_at`,
    [lease.stream, ...(dueByMs === undefined ? [] : [dueByMs]), ...(except.length > 0 ? [except] : []), limit],
  );
  return rows.map((row) => {
    const key = toBuffer(row.held_key);
    return (row.seq as Seq | null) === null ? { key } : { key, head: toQueuedCall(db, row, lease) };
  });
}

/** The next calls of a key that stands aside. A position is safe here: only the lease's holder appends to them. */
export async function fetchHeld(
  db: Database,
  lease: StreamLease,
  key: Buffer,
  afterSeq: Seq,
  limit: number,
): Promise<QueuedCall[]> {
  const { rows } = await db.query<QueuedRow>(
    `select ${queuedColumns(db)} from ${db.tables.calls} c ${db.dialect.useIndex("calls_held")}
     where c.stream = ? and c.ordering_key = ? and c.state = 'held' and c.seq > ? order by c.seq limit ?`,
    [lease.stream, key, afterSeq, limit],
  );
  return rows.map((row) => toQueuedCall(db, row, lease));
}

/** The payload of a call that was too large to be read ahead; undefined where the call is gone. */
export async function readPayload(db: Database, seq: Seq): Promise<string | undefined> {
  const { rows } = await db.query<{ payload: string }>(`select payload from ${db.tables.calls} where seq = ?`, [seq]);
  return rows[0]?.payload;
}

/** By its place in the index: MariaDB reads all of a key for its `min(seq)` (seen: 210 ms for 100,000, against 1). */
export function headOf({ dialect, tables }: Database, keys: string): string {
  return `(select h.seq from ${tables.calls} h ${dialect.useIndex("calls_held")}
    where h.stream = ${keys}.stream and h.ordering_key = ${keys}.ordering_key and h.state = 'held' order by h.seq limit 1)`;
}

export function keyOfCall({ dialect, tables }: Database): string {
  return dialect.lookUp(tables.keys, "k", "stream", "k.stream = c.stream and k.ordering_key = c.ordering_key");
}

/** @param isWanted whether a call's payload is read */
export function queuedColumns({ dialect }: Database, isWanted?: string): string {
  const columns = selectList(callColumns(dialect, "c", payloadAhead("c", isWanted), ["stream", "strategy", "fence"]));
  return `${columns}, c.due_at <= ${dialect.now} as is_due`;
}

/** The payload of a call, where it is small enough to be read ahead. */
export function payloadAhead(alias: string, isWanted?: string): string {
  const isSmall = `octet_length(${alias}.payload) <= ${READ_AHEAD_BYTES}`;
  return `case when ${isWanted === undefined ? "" : `${isWanted} and `}${isSmall} then ${alias}.payload end`;
}

export function toQueuedCall({ dialect }: Database, row: QueuedRow, { stream, fence }: StreamLease): QueuedCall {
  const reading = readingOf(row.now_ms, { stream, fence, strategy: "keep-order" });
  return new QueuedReadCall(row, dialect, reading, isTrue(row.is_due));
}
