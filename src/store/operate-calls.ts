import type { Strategy } from "../types.js";
import { isLeased } from "./claim-calls.js";
import { type CallFilter, conditionOf, HIDDEN, shownState } from "./call-filter.js";
import type { Connection, Database, Sql } from "./database.js";
import { isTrue, type Seq } from "./dialect.js";
import { changeStream } from "./stream-changes.js";

/** A call that a person means. */
export interface SelectedCall {
  seq: Seq;
  stream: string;
  /** By whoever serves its stream: hidden from that process before it is deleted. */
  mayBeReadAhead: boolean;
  isSent: boolean;
}

/** What a person can do to calls: `retry` those that failed, `discard` those that are not sent. */
export type CallAction = "retry" | "discard";

const EXCEPT_SENT = "c.state <> 'sent'";

/** Some of the calls that a person means. */
export interface Selection {
  calls: SelectedCall[];
  /** Behind which the next ones are looked for; undefined where these were the last. */
  after: Seq | undefined;
}

/** Rows that a statement looks at to find those that are meant. */
const LOOKED_AT = 10_000;

/**
 * The next of the calls meant by a filter to which this can be done, in the order of `seq`. It looks at a window of the table
 * at a time: PostgreSQL takes a computed state for rare, and would read all calls again for each of a hundred pages (0.7 s
 * each with 100,000 calls; with a window 0.05 s).
 */
export async function selectCalls(
  db: Database,
  action: CallAction,
  filter: CallFilter,
  afterSeq: Seq | undefined,
  limit: number,
): Promise<Selection> {
  const { sql, bindings } = conditionOf(db, filter);
  const end = isIndexed(filter) ? undefined : await windowEnd(db, afterSeq);
  const { rows } = await db.query<{
    seq: Seq;
    stream: string;
    strategy: Strategy;
    is_open: boolean | number;
    is_sent: boolean | number;
  }>(
    `select c.seq, c.stream, c.strategy, c.state in ('pending', 'held') or (${HIDDEN}) as is_open, c.state = 'sent' as is_sent
     from ${db.tables.calls} c
     where ${sql} and ${meantBy(db, action, filter)} ${afterSeq === undefined ? "" : "and c.seq > ?"}
       ${end === undefined ? "" : "and c.seq <= ?"} order by c.seq limit ?`,
    [...bindings, ...(afterSeq === undefined ? [] : [afterSeq]), ...(end === undefined ? [] : [end]), limit],
  );
  const calls = rows.map(({ seq, stream, strategy, is_open: isOpen, is_sent: isSent }) => ({
    seq,
    stream,
    mayBeReadAhead: strategy === "keep-order" && isTrue(isOpen),
    isSent: isTrue(isSent),
  }));
  return { calls, after: calls.length === limit ? calls.at(-1)?.seq : end };
}

/** Whether few rows are looked at, however many there are. */
function isIndexed({ ids, state }: CallFilter): boolean {
  return ids !== undefined || state === "dead";
}

/** @returns undefined where the rest of the table fits into a window */
async function windowEnd(db: Database, afterSeq: Seq | undefined): Promise<Seq | undefined> {
  const { rows } = await db.query<{ seq: Seq }>(
    `select c.seq from ${db.tables.calls} c ${afterSeq === undefined ? "" : "where c.seq > ?"}
     order by c.seq limit 1 offset ${LOOKED_AT - 1}`,
    afterSeq === undefined ? [] : [afterSeq],
  );
  return rows[0]?.seq;
}

export async function countSelected(db: Database, action: CallAction, filter: CallFilter): Promise<number> {
  const { sql, bindings } = conditionOf(db, filter);
  const { rows } = await db.query<{ calls: number | string }>(
    `select count(*) as calls from ${db.tables.calls} c where ${sql} and ${meantBy(db, action, filter)}`,
    bindings,
  );
  return Number(rows[0]?.calls);
}

function meantBy(db: Database, action: CallAction, { state, ids }: CallFilter): string {
  // Sent calls are the cleaner's, unless a person says that they are meant.
  if (action === "discard") return state === "sent" || ids !== undefined ? "1 = 1" : EXCEPT_SENT;
  return `${EXCEPT_SENT} and (c.state = 'dead' or (c.attempts > 0 and ${shownState(db)} in ('pending', 'blocked')))`;
}

/**
 * Makes dead calls pending again, and those due now that wait for their next attempt, blocked heads among them. Their retry
 * schedules begin anew.
 *
 * @returns how many it was
 */
export async function retryCalls(db: Database, seqs: readonly Seq[]): Promise<number> {
  let retried = await retry(db, db, seqs, { sql: "strategy = 'publish-on-commit'", bindings: [] });
  for (const stream of await orderedStreams(db, seqs)) {
    const ofStream = { sql: "strategy = 'keep-order' and stream = ?", bindings: [stream] };
    const { result } = await changeStream(db, stream, async (connection) => {
      const count = await retry(db, connection, seqs, ofStream);
      await wakeKeys(db, connection, stream, seqs, "and state = 'held'");
      return count;
    });
    retried += result;
  }
  return retried;
}

async function retry(db: Database, connection: Connection, seqs: readonly Seq[], of: Sql): Promise<number> {
  const { dialect, tables } = db;
  const { count } = await connection.query(
    `update ${tables.calls} ${dialect.useIndex("primary")}
     set due_at = ${dialect.now}, first_due_at = ${dialect.now}, attempts = 0, suspect_runs = 0, lease_id = null, lease_until = null,
       settled_at = null, state = case when state = 'dead' then ${placeOf(db)} else state end
     where ${dialect.among("seq")} and ${of.sql} and (state = 'dead' or (state = 'held' and attempts > 0)
       or (state = 'pending' and strategy = 'publish-on-commit' and attempts > 0 and lease_id is null))`,
    [seqs, ...of.bindings],
  );
  return count;
}

async function orderedStreams(db: Database, seqs: readonly Seq[]): Promise<string[]> {
  const { rows } = await db.query<{ stream: string }>(
    `select distinct stream from ${db.tables.calls} where ${db.dialect.among("seq")} and strategy = 'keep-order'`,
    [seqs],
  );
  return rows.map(({ stream }) => stream);
}

/**
 * The state of a call that comes back. Where its key stands aside it is held with the others: from the line, it would come
 * after them. The stream's lock keeps the key from being released meanwhile.
 */
export function placeOf({ tables: { calls, keys } }: Database): string {
  return `case when ${calls}.strategy = 'keep-order' and exists (select 1 from ${keys} k
    where k.stream = ${calls}.stream and k.ordering_key = ${calls}.ordering_key) then 'held' else 'pending' end`;
}

/** The keys of these calls that stand aside are looked at now. */
export async function wakeKeys(db: Database, connection: Connection, stream: string, seqs: readonly Seq[], those = "") {
  const { dialect, tables } = db;
  // As a subquery of the update, MariaDB would read the calls again for each key of the stream (ten seconds for 10,000 keys).
  const { rows } = await connection.query<{ ordering_key: Uint8Array }>(
    `select distinct ordering_key from ${tables.calls} ${dialect.useIndex("primary")}
     where ${dialect.among("seq")} and stream = ? ${those}`,
    [seqs, stream],
  );
  if (rows.length === 0) return;
  await connection.query(
    `update ${tables.keys} ${dialect.useIndex("primary")} set due_at = ${dialect.now}
     where stream = ? and ${dialect.among("ordering_key")} and state <> 'parked'`,
    [stream, rows.map((row) => Buffer.from(row.ordering_key))],
  );
}

/**
 * Deletes calls, except those that are being run, or have been sent meanwhile, and keep-order ones that a stream's holder
 * may have read ahead, since they are not hidden.
 *
 * @returns how many it was
 */
export async function discardCalls(db: Database, seqs: readonly Seq[]): Promise<number> {
  const { sql, bindings } = db.dialect.deleteBySeq(
    db.tables.calls,
    seqs,
    `(c.state = 'dead' or (c.state = 'pending' and c.strategy = 'publish-on-commit'
       and not ${isLeased(db.dialect, "c")}))`,
  );
  return (await db.query(sql, bindings)).count;
}

/** Deletes sent calls that a person means. @returns how many it was */
export async function discardSent(db: Database, seqs: readonly Seq[]): Promise<number> {
  const { sql, bindings } = db.dialect.deleteBySeq(db.tables.calls, seqs, "c.state = 'sent'");
  return (await db.query(sql, bindings)).count;
}
