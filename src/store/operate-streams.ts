import { isLeased } from "./claim-calls.js";
import type { Connection, Database } from "./database.js";
import type { Seq } from "./dialect.js";
import { changeStream } from "./stream-changes.js";

/** The first call of an ordering key. */
export interface Head {
  seq: Seq;
  id: string;
}

/** Nothing of the stream is begun any more once this is confirmed. @returns the epoch to be confirmed */
export async function pauseStream(db: Database, stream: string, reason: string | undefined): Promise<string> {
  const { dialect, tables } = db;
  const { epoch } = await changeStream(db, stream, async (connection) => {
    await connection.query(
      `update ${tables.streams} ${dialect.useIndex("primary")}
       set paused_at = coalesce(paused_at, ${dialect.now}), paused_reason = coalesce(?, paused_reason) where stream = ?`,
      [reason ?? null, stream],
    );
  });
  return epoch;
}

/** @returns whether it was paused */
export async function resumeStream(db: Database, stream: string): Promise<boolean> {
  const { dialect, tables } = db;
  const { count } = await db.query(
    `update ${tables.streams} ${dialect.useIndex("primary")} set paused_at = null, paused_reason = null
     where stream = ? and paused_at is not null`,
    [stream],
  );
  return count > 0;
}

/** Publish-on-commit calls of a stream under a live lease. */
export async function countRunning(db: Database, stream: string): Promise<number> {
  const { dialect, tables } = db;
  const { rows } = await db.query<{ calls: number | string }>(
    `select count(*) as calls from ${tables.calls} where state = 'pending' and strategy = 'publish-on-commit' and stream = ?
       and ${isLeased(dialect, tables.calls)}`,
    [stream],
  );
  return Number(rows[0]?.calls);
}

/** Sets a key aside with all its calls, later ones too. @returns the epoch to be confirmed */
export async function parkKey(db: Database, stream: string, key: Buffer): Promise<string> {
  const { dialect, tables } = db;
  const { epoch } = await changeStream(db, stream, async (connection) => {
    const { count } = await connection.query(
      `update ${tables.keys} ${dialect.useIndex("primary")} set state = 'parked', due_at = ${dialect.never}, since = ${dialect.now}
       where stream = ? and ordering_key = ? and state <> 'parked'`,
      [stream, key],
    );
    if (count > 0) return;
    await connection.query(
      dialect.insertSelectIfAbsent(
        `${tables.keys} (stream, ordering_key, state, due_at, since)`,
        `values (?, ?, 'parked', ${dialect.never}, ${dialect.now})`,
      ),
      [stream, key],
    );
  });
  return epoch;
}

/** @returns whether one of these calls is of the key, and neither sent nor given up */
export async function hasOpenCall(db: Database, stream: string, key: Buffer, seqs: readonly Seq[]): Promise<boolean> {
  const { dialect, tables } = db;
  if (seqs.length === 0) return false;
  const { rows } = await db.query(
    `select seq from ${tables.calls} ${dialect.useIndex("primary")}
     where ${dialect.among("seq")} and stream = ? and ordering_key = ? and state in ('pending', 'held')`,
    [seqs, stream, key],
  );
  return rows.length > 0;
}

/** @returns whether it was parked */
export async function resumeKey(db: Database, stream: string, key: Buffer): Promise<boolean> {
  const { dialect, tables } = db;
  const { result } = await changeStream(db, stream, async (connection) => {
    const { count } = await connection.query(
      `update ${tables.keys} ${dialect.useIndex("primary")} set state = 'waiting', due_at = ${dialect.now}
       where stream = ? and ordering_key = ? and state = 'parked'`,
      [stream, key],
    );
    if (count > 0) await beginAnew(db, connection, await heldHead(db, connection, stream, key));
    return count > 0;
  });
  return result;
}

/** @returns the head of a key that stands aside, due now; undefined where there is none, or it is parked or delayed */
export async function retryHead(db: Database, stream: string, key: Buffer): Promise<Head | undefined> {
  const { dialect, tables } = db;
  const { result } = await changeStream(db, stream, async (connection) => {
    const { count } = await connection.query(
      `update ${tables.keys} ${dialect.useIndex("primary")} set due_at = ${dialect.now}
       where stream = ? and ordering_key = ? and state <> 'parked'`,
      [stream, key],
    );
    const head = count > 0 ? await heldHead(db, connection, stream, key) : undefined;
    if (!head) return undefined;
    await beginAnew(db, connection, head);
    const { rows } = await connection.query<Head>(
      `select seq, id from ${tables.calls} where seq = ? and due_at <= ${dialect.clock}`,
      [head.seq],
    );
    return rows[0];
  });
  return result;
}

/** The first call of a key, whatever its state. */
export async function readHead(db: Database, stream: string, key: Buffer): Promise<Head | undefined> {
  return firstOf(db, db, stream, key);
}

async function beginAnew({ dialect, tables }: Database, connection: Connection, head: Head | undefined): Promise<void> {
  if (!head) return;
  await connection.query(
    `update ${tables.calls} ${dialect.useIndex("primary")}
     set due_at = ${dialect.now}, first_due_at = ${dialect.now}, attempts = 0, suspect_runs = 0
     where seq = ? and state = 'held' and (attempts > 0 or suspect_runs > 0)`,
    [head.seq],
  );
}

async function heldHead(
  { dialect, tables }: Database,
  connection: Connection,
  stream: string,
  key: Buffer,
): Promise<Head | undefined> {
  const { rows } = await connection.query<Head>(
    `select seq, id from ${tables.calls} ${dialect.useIndex("calls_held")}
     where stream = ? and ordering_key = ? and state = 'held' order by seq limit 1`,
    [stream, key],
  );
  return rows[0];
}

/**
 * Of the calls that stand aside and of those in line: a retried one may have come back in front of the others. The line is
 * read first: from there a call may be set aside between the two, and never the other way.
 */
export async function firstOf(
  db: Database,
  connection: Connection,
  stream: string,
  key: Buffer,
): Promise<Head | undefined> {
  const { rows } = await connection.query<Head>(
    `select seq, id from ${db.tables.calls} ${db.dialect.useIndex("calls_line")}
     where stream = ? and ordering_key = ? and state = 'pending' and strategy = 'keep-order' order by seq limit 1`,
    [stream, key],
  );
  const [inLine] = rows;
  const held = await heldHead(db, connection, stream, key);
  if (!held || !inLine) return held ?? inLine;
  return BigInt(inLine.seq) < BigInt(held.seq) ? inLine : held;
}
