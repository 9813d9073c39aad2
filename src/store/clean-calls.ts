import type { Database } from "./database.js";
import type { Seq } from "./dialect.js";

const IS_OLD = ({ dialect }: Database) => `state = 'sent' and settled_at < ${dialect.after("?")}`;

/** Deletes sent calls that are older, the oldest first, at most `limit`. @returns how many */
export function deleteSent(db: Database, olderThanMs: number, limit: number): Promise<number> {
  return db.dialect.returning ? deleteUnlocked(db, olderThanMs, limit) : deleteRead(db, olderThanMs, limit);
}

/** As an array, which is looked up by the primary key: of a smaller table a join would read every call. */
async function deleteUnlocked(db: Database, olderThanMs: number, limit: number): Promise<number> {
  const { calls } = db.tables;
  const { count } = await db.query(
    `delete from ${calls} where seq = any(array(
       select seq from ${calls} where ${IS_OLD(db)} order by settled_at limit ? for update skip locked))`,
    [-olderThanMs, limit],
  );
  return count;
}

/**
 * A plain read first: ordered by a part of the index alone, MariaDB's delete would sort, and lock, every old call (seen: 0.9 s
 * and 120,000 calls to delete 1000).
 */
async function deleteRead(db: Database, olderThanMs: number, limit: number): Promise<number> {
  const { dialect, tables } = db;
  let deleted = 0;
  while (deleted < limit) {
    const wanted = limit - deleted;
    const { rows } = await db.query<{ seq: Seq }>(
      `select seq from ${tables.calls} ${dialect.useIndex("calls_sent")} where ${IS_OLD(db)} order by settled_at limit ?`,
      [-olderThanMs, wanted],
    );
    if (rows.length === 0) break;
    const seqs = rows.map(({ seq }) => seq);
    const { sql, bindings } = dialect.deleteBySeq(tables.calls, seqs, "c.state = 'sent'");
    deleted += (await db.query(sql, bindings)).count;
    // Fewer were deleted than read where another cleaner was faster: what it left is read again.
    if (rows.length < wanted) break;
  }
  return deleted;
}

export async function countSent(db: Database, olderThanMs: number): Promise<number> {
  const { rows } = await db.query<{ count: number | string }>(
    `select count(*) as count from ${db.tables.calls} where ${IS_OLD(db)}`,
    [-olderThanMs],
  );
  return Number(rows[0]?.count);
}
