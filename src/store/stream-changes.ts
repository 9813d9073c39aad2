import { randomUUID } from "node:crypto";
import type { Connection, Database } from "./database.js";
import { isTrue, type Seq } from "./dialect.js";
import type { StreamLease } from "./serve-stream.js";

/**
 * How a person's change reaches a process that serves the stream, and has read some of its calls ahead: each change raises
 * the stream's epoch. The holder sees that at its next look, drops what it has read, and says so, together with the calls
 * that it cannot drop because they run, or ran and are not settled yet.
 */

/** What people have changed since the holder of the lease last looked. */
export interface Changes {
  epoch: string | number;
  /** Not seen yet. */
  isNew: boolean;
  isPaused: boolean;
}

/** @returns undefined where the lease is somebody else's by now */
export async function readChanges(db: Database, lease: StreamLease): Promise<Changes | undefined> {
  const { tables } = db;
  const { rows } = await db.query<{ epoch: string | number; is_new: boolean | number; is_paused: boolean | number }>(
    `select epoch, epoch > seen_epoch as is_new, paused_at is not null as is_paused
     from ${tables.streams} where stream = ? and lease_token = ?`,
    [lease.stream, lease.token],
  );
  return rows[0] && { epoch: rows[0].epoch, isNew: isTrue(rows[0].is_new), isPaused: isTrue(rows[0].is_paused) };
}

/** The holder has dropped what it had read before, except these calls. */
export async function confirmChanges(
  db: Database,
  lease: StreamLease,
  epoch: Changes["epoch"],
  inFlight: readonly Seq[],
): Promise<void> {
  const { tables, dialect } = db;
  await db.query(
    `update ${tables.streams} ${dialect.useIndex("primary")} set seen_epoch = ?, in_flight = ?
     where stream = ? and lease_token = ?`,
    [epoch, JSON.stringify(inFlight), lease.stream, lease.token],
  );
}

/** A person's change of a stream: no settlement and no takeover comes in between. @returns its epoch, and what `work` did */
export async function changeStream<T>(
  db: Database,
  stream: string,
  work: (connection: Connection) => Promise<T>,
): Promise<{ epoch: string; result: T }> {
  const { dialect, tables } = db;
  // Not in the transaction: on MySQL the row's share lock would meet that of a settlement, and both wait for more.
  await db.query(dialect.insertIfAbsent(tables.streams, ["stream"]), [stream]);
  return db.transaction(async (connection) => {
    const { rows } = await connection.query<{ epoch: string | number }>(
      `select epoch from ${tables.streams} ${dialect.useIndex("primary")} where stream = ? for update`,
      [stream],
    );
    const result = await work(connection);
    const epoch = String(BigInt(rows[0]?.epoch ?? 0) + 1n);
    await connection.query(`update ${tables.streams} ${dialect.useIndex("primary")} set epoch = ? where stream = ?`, [
      epoch,
      stream,
    ]);
    return { epoch, result };
  });
}

/**
 * A holder whose lease has ended without its seeing the change loses it for good: one that was merely stopped for a while could
 * otherwise renew it, and go on with what it had read ahead.
 *
 * @returns the calls that the holder could not drop; undefined while it has not seen the change
 */
export async function readConfirmation(db: Database, stream: string, epoch: string): Promise<Seq[] | undefined> {
  const { tables, dialect } = db;
  const { count } = await db.query(
    `update ${tables.streams} ${dialect.useIndex("primary")} set lease_token = ?
     where stream = ? and lease_token is not null and lease_until <= ${dialect.now} and seen_epoch < ?`,
    [randomUUID(), stream, epoch],
  );
  if (count > 0) return [];
  // A lease that ends just now is not asked about here: its holder has not lost it yet.
  const { rows } = await db.query<{ is_settled: boolean | number; in_flight: string | null }>(
    `select seen_epoch >= ? or lease_token is null as is_settled, case when seen_epoch >= ? then in_flight end as in_flight
     from ${tables.streams} where stream = ?`,
    [epoch, epoch, stream],
  );
  const row = rows[0];
  if (row && !isTrue(row.is_settled)) return undefined;
  return row?.in_flight ? (JSON.parse(row.in_flight) as Seq[]) : [];
}
