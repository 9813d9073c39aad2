import { randomUUID } from "node:crypto";
import type { Connection, Database } from "./database.js";
import type { Seq } from "./dialect.js";

/** The right to run the keep-order calls of a stream. */
export interface StreamLease {
  stream: string;
  token: string;
  /** Rises with each takeover of the stream. */
  fence: number;
}

/** Why the calls of an ordering key stand aside. `busy`: its head is being run, and its queue was long. */
export type KeyState = "waiting" | "blocked" | "unroutable" | "busy";

/**
 * What becomes of keep-order calls, and of their keys, under the stream's lease. `set-aside` takes calls out of the line, behind
 * the head of their key; `release` lets a key without such calls stand in line again. `error` is a clean text.
 */
export type StreamSettlement =
  | { kind: "delete"; seq: Seq }
  | { kind: "mark-sent"; seq: Seq }
  | { kind: "hold"; state: KeyState; due: Due; head: HeldHead }
  | { kind: "set-aside"; seqs: readonly Seq[] }
  | { kind: "release"; key: Buffer };

/** When a key that stands aside is looked at again: in so many milliseconds, or when its head is due. */
export type Due = { inMs: number } | "when-head-is-due";

export interface HeldHead {
  seq: Seq;
  attempts: number;
  error?: string;
}

/** @returns undefined while another holds the lease */
export async function acquireStream(db: Database, stream: string, leaseMs: number): Promise<StreamLease | undefined> {
  const { dialect, tables } = db;
  const token = randomUUID();
  const isFree = `(lease_until is null or lease_until <= ${dialect.now})`;
  const update = () =>
    db.query(
      `update ${tables.streams} ${dialect.useIndex("primary")}
       set lease_token = ?, lease_until = ${dialect.after("?")}, fence = fence + 1 where stream = ? and ${isFree}`,
      [token, leaseMs, stream],
    );
  if ((await update()).count === 0) {
    await db.query(dialect.insertIfAbsent(tables.streams, ["stream"]), [stream]);
    if ((await update()).count === 0) return undefined;
  }
  const { rows } = await db.query<{ fence: number | string }>(
    `select fence from ${tables.streams} where stream = ? and lease_token = ?`,
    [stream, token],
  );
  return rows[0] && { stream, token, fence: Number(rows[0].fence) };
}

/** @returns false where the lease is somebody else's by now */
export async function renewStream(db: Database, lease: StreamLease, leaseMs: number): Promise<boolean> {
  const { count } = await db.query(
    `update ${db.tables.streams} ${db.dialect.useIndex("primary")} set lease_until = ${db.dialect.after("?")}
     where stream = ? and lease_token = ?`,
    [leaseMs, lease.stream, lease.token],
  );
  return count > 0;
}

export async function releaseStream(db: Database, lease: StreamLease): Promise<void> {
  await db.query(
    `update ${db.tables.streams} ${db.dialect.useIndex("primary")} set lease_token = null, lease_until = null
     where stream = ? and lease_token = ?`,
    [lease.stream, lease.token],
  );
}

/**
 * Writes down what became of calls and keys, all or nothing, while nobody can take the stream over.
 *
 * @returns false where the lease is somebody else's by now; nothing was changed
 */
export async function settleStream(
  db: Database,
  lease: StreamLease,
  settlements: readonly StreamSettlement[],
): Promise<boolean> {
  const seqs = (kind: "delete" | "mark-sent") =>
    settlements.flatMap((settlement) => (settlement.kind === kind ? [settlement.seq] : []));
  const deleted = seqs("delete");
  const sent = seqs("mark-sent");
  if (db.dialect.returning && deleted.length === settlements.length) return deleteUnderLease(db, lease, deleted);
  return db.transaction(async (connection) => {
    if (!(await lockLease(db, connection, lease))) return false;
    if (deleted.length > 0) {
      const { sql, bindings } = db.dialect.deleteBySeq(db.tables.calls, deleted);
      await connection.query(sql, bindings);
    }
    if (sent.length > 0) {
      await connection.query(
        `update ${db.tables.calls} ${db.dialect.useIndex("primary")} set state = 'sent', attempts = attempts + 1, settled_at = ${db.dialect.now}
         where ${db.dialect.among("seq")} and state <> 'sent'`,
        [sent],
      );
    }
    for (const settlement of settlements) await settleOne(db, connection, lease, settlement);
    return true;
  });
}

/**
 * The usual case in one statement. The lease row is locked before a call is touched: a mere `where lease_token = …` let an
 * old token settle while a takeover waited (seen).
 */
async function deleteUnderLease(db: Database, lease: StreamLease, seqs: Seq[]): Promise<boolean> {
  const { rows } = await db.query<{ held: boolean }>(
    `with lease as materialized (select 1 from ${db.tables.streams} where stream = ? and lease_token = ? ${db.dialect.lockInShareMode}),
          done as (delete from ${db.tables.calls} where ${db.dialect.among("seq")} and exists (select from lease))
     select exists (select from lease) as held`,
    [lease.stream, lease.token, seqs],
  );
  return rows[0]?.held === true;
}

async function lockLease(db: Database, connection: Connection, lease: StreamLease): Promise<boolean> {
  const { count } = await connection.query(
    `select 1 from ${db.tables.streams} ${db.dialect.useIndex("primary")}
     where stream = ? and lease_token = ? ${db.dialect.lockInShareMode}`,
    [lease.stream, lease.token],
  );
  return count > 0;
}

async function settleOne(db: Database, connection: Connection, lease: StreamLease, settlement: StreamSettlement) {
  const { dialect, tables } = db;
  switch (settlement.kind) {
    case "delete":
    case "mark-sent":
      return;
    case "hold":
      await hold(db, connection, settlement);
      return;
    case "set-aside":
      if (settlement.seqs.length === 0) return;
      await connection.query(
        `update ${tables.calls} ${dialect.useIndex("primary")} set state = 'held'
         where ${dialect.among("seq")} and state = 'pending'`,
        [settlement.seqs],
      );
      // Their key is there already, unless somebody edited the tables: a held call without it would never be seen again.
      await connection.query(
        dialect.insertSelectIfAbsent(
          `${tables.keys} (stream, ordering_key, state, due_at, since)`,
          `select distinct stream, ordering_key, 'busy', ${dialect.now}, ${dialect.now} from ${tables.calls}
           where ${dialect.among("seq")} and state = 'held'`,
        ),
        [settlement.seqs],
      );
      return;
    case "release":
      await connection.query(
        `delete from ${tables.keys} where stream = ? and ordering_key = ? and not exists (
           select 1 from ${tables.calls} c where c.stream = ? and c.ordering_key = ? and c.state = 'held')`,
        [lease.stream, settlement.key, lease.stream, settlement.key],
      );
  }
}

/** Sets a key aside with its head; the calls behind it follow when a pass meets them. */
async function hold(
  db: Database,
  connection: Connection,
  { state, due, head }: Extract<StreamSettlement, { kind: "hold" }>,
) {
  const { dialect, tables } = db;
  const isCounted = head.error !== undefined;
  const dueAt = due === "when-head-is-due" ? "due_at" : dialect.after("?");
  await connection.query(
    `update ${tables.calls} ${dialect.useIndex("primary")}
     set state = 'held', attempts = ?, due_at = ${dueAt} ${isCounted ? ", last_error = ?" : ""} where seq = ?`,
    [
      head.attempts,
      ...(due === "when-head-is-due" ? [] : [due.inMs]),
      ...(head.error === undefined ? [] : [head.error]),
      head.seq,
    ],
  );
  await connection.query(
    `insert into ${tables.keys} (stream, ordering_key, state, due_at, since)
     select stream, ordering_key, ?, due_at, ${dialect.now} from ${tables.calls} where seq = ?
     ${dialect.onDuplicate(["stream", "ordering_key"], ["state", "due_at"])}`,
    [state, head.seq],
  );
}
