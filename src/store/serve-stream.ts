import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Connection, Database } from "./database.js";
import { isTrue, type Seq } from "./dialect.js";

/** The right to run the keep-order calls of a stream. */
export interface StreamLease {
  stream: string;
  token: string;
  /** Rises with each takeover of the stream. */
  fence: number;
  /** The holder before did not give it back: its process ended, or lost the database, perhaps for one of the calls. */
  isTakenOver: boolean;
}

/**
 * Why the calls of an ordering key stand aside. `busy`: its head is being run, and its queue was long. `parked`: until a
 * person resumes it.
 */
export type KeyState = "waiting" | "blocked" | "unroutable" | "busy" | "parked";

/**
 * What becomes of keep-order calls, and of their keys, under the stream's lease. `begin-suspect` writes down, before the run,
 * that it might end the process; `set-aside` takes calls out of the line, behind the head of their key; `release` lets a key
 * without such calls stand in line again; a group has one `hold` of a key at most. `error` is a clean text.
 */
export type StreamSettlement =
  | { kind: "delete"; seq: Seq }
  | { kind: "mark-sent"; seq: Seq }
  | { kind: "dead"; seq: Seq; attempts: number; error: string }
  | { kind: "begin-suspect"; seq: Seq; isAlone: boolean }
  | { kind: "hold"; state: KeyState; due: Due; head: HeldHead }
  | { kind: "set-aside"; seqs: readonly Seq[] }
  | { kind: "release"; key: Buffer };

/** When a key that stands aside is looked at again: in so many milliseconds, when its head is due, or once a person says so. */
export type Due = { inMs: number } | "when-head-is-due" | "never";

export interface HeldHead {
  seq: Seq;
  attempts: number;
  /** Where it ran, and failed. */
  error?: string;
  /** Where it did not run, and may be what ended the process before: who runs it shall know. */
  isSuspect?: boolean;
}

/** Tells a person who serves a stream. */
const HOLDER = `${hostname()} ${process.pid}`.slice(-300);

/** @returns undefined while another holds the lease, or the stream is paused */
export async function acquireStream(db: Database, stream: string, leaseMs: number): Promise<StreamLease | undefined> {
  const { dialect, tables } = db;
  const token = randomUUID();
  const isFree = `(lease_until is null or lease_until <= ${dialect.now})`;
  const read = async (): Promise<AcquiredRow[]> => {
    const sql = `select ${acquired} from ${tables.streams} where stream = ? and lease_token = ?`;
    return (await db.query<AcquiredRow>(sql, [stream, token])).rows;
  };
  // MySQL assigns in turn: what is asked of the token comes before the token.
  const update = async (): Promise<AcquiredRow | undefined> => {
    const { rows, count } = await db.query<AcquiredRow>(
      `update ${tables.streams} ${dialect.useIndex("primary")}
       set taken_over = (taken_over or lease_token is not null), lease_token = ?, lease_until = ${dialect.after("?")}, fence = fence + 1,
         holder = ?, seen_epoch = epoch, in_flight = null
       where stream = ? and paused_at is null and ${isFree} ${dialect.returning ? `returning ${acquired}` : ""}`,
      [token, leaseMs, HOLDER, stream],
    );
    return (dialect.returning || count === 0 ? rows : await read())[0];
  };
  let row = await update();
  if (!row) {
    await db.query(dialect.insertIfAbsent(tables.streams, ["stream"]), [stream]);
    row = await update();
  }
  return row && { stream, token, fence: Number(row.fence), isTakenOver: isTrue(row.taken_over) };
}

const acquired = "fence, taken_over";

interface AcquiredRow {
  fence: number | string;
  taken_over: boolean | number;
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

/** @param isSuspicious not all was served that may have ended the process of the holder before: the next one begins with suspects, too */
export async function releaseStream(db: Database, lease: StreamLease, isSuspicious = false): Promise<void> {
  await db.query(
    `update ${db.tables.streams} ${db.dialect.useIndex("primary")} set lease_token = null, lease_until = null,
       taken_over = ?, holder = null, in_flight = null where stream = ? and lease_token = ?`,
    [isSuspicious, lease.stream, lease.token],
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
  const [deleted, sent]: [Seq[], Seq[]] = [[], []];
  for (const settlement of settlements) {
    if (settlement.kind === "delete") deleted.push(settlement.seq);
    else if (settlement.kind === "mark-sent") sent.push(settlement.seq);
  }
  if (db.dialect.returning && deleted.length === settlements.length) return deleteUnderLease(db, lease, deleted);
  return db.transaction(async (connection) => {
    if (!(await lockLease(db, connection, lease))) return false;
    if (deleted.length > 0) {
      const { sql, bindings } = db.dialect.deleteBySeq(db.tables.calls, deleted);
      await connection.query(sql, bindings);
    }
    if (sent.length > 0) {
      await connection.query(
        `update ${db.tables.calls} ${db.dialect.useIndex("primary")} set state = 'sent', settled_at = ${db.dialect.now},
           attempts = ${countingThisRun}, suspect_runs = 0 where ${db.dialect.among("seq")} and state <> 'sent'`,
        [sent],
      );
    }
    await hold(
      db,
      connection,
      settlements.filter((settlement) => settlement.kind === "hold"),
    );
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
    [lease.stream, lease.token, db.dialect.seqs(seqs)],
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
    case "hold":
      return;
    case "dead":
      await connection.query(
        `update ${tables.calls} ${dialect.useIndex("primary")}
         set state = 'dead', attempts = ?, last_error = ?, suspect_runs = 0, settled_at = ${dialect.now} where seq = ?`,
        [settlement.attempts, settlement.error, settlement.seq],
      );
      return;
    case "begin-suspect":
      await connection.query(
        `update ${tables.calls} ${dialect.useIndex("primary")}
         set suspect_runs = suspect_runs + 1, attempts = attempts + ? where seq = ?`,
        [settlement.isAlone ? 1 : 0, settlement.seq],
      );
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
        `delete from ${tables.keys} where stream = ? and ordering_key = ? and state <> 'parked' and not exists (
           select 1 from ${tables.calls} c where c.stream = ? and c.ordering_key = ? and c.state = 'held')`,
        [lease.stream, settlement.key, lease.stream, settlement.key],
      );
  }
}

/** Of a suspect that ran alone, the attempt was written before the run. */
const countingThisRun = "attempts + (case when suspect_runs > 1 then 0 else 1 end)";

type Hold = Extract<StreamSettlement, { kind: "hold" }>;

/**
 * Sets keys aside with their heads; the calls behind them follow when a pass meets them. A head that ran comes back whatever
 * a person made of it meanwhile, one that did not stays what it was made. Many at once: when a receiver goes down, thousands
 * of heads fail (seen: a statement for each took 20 s for 10,000).
 */
async function hold(db: Database, connection: Connection, holds: readonly Hold[]): Promise<void> {
  if (holds.length === 0) return;
  const { dialect, tables } = db;
  const u = dialect.rowset(
    "u",
    { seq: "seq", state: "text", attempts: "int", due: "text", in_ms: "ms", error: "text", suspect: "int" },
    holds.map(({ state, due, head }) => [
      head.seq,
      state,
      head.attempts,
      typeof due === "string" ? due : "later",
      typeof due === "string" ? 0 : due.inMs,
      head.error ?? null,
      head.isSuspect === true ? 1 : 0,
    ]),
  );
  const updated = dialect.updateFrom(tables.calls, u, {
    state: "'held'",
    attempts: "u.attempts",
    due_at: `case u.due when 'never' then ${dialect.never} when 'when-head-is-due' then c.due_at else ${dialect.after("u.in_ms")} end`,
    last_error: "coalesce(u.error, c.last_error)",
    suspect_runs:
      "case when u.error is not null then 0 when c.suspect_runs > u.suspect then c.suspect_runs else u.suspect end",
  });
  await connection.query(`${updated} (u.error is not null or c.state in ('pending', 'held'))`, u.bindings);
  await connection.query(
    dialect.upsertSelect({
      into: tables.keys,
      key: ["stream", "ordering_key"],
      columns: ["stream", "ordering_key", "state", "due_at", "since"],
      select: `select c.stream, c.ordering_key, u.state, case u.state when 'parked' then ${dialect.never} else c.due_at end, ${dialect.now}
        from ${u.sql} join ${tables.calls} c on c.seq = u.seq where c.state = 'held'`,
      takenOver: ["state", "due_at"],
      keptState: "parked",
    }),
    u.bindings,
  );
}
