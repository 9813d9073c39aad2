import type { Database } from "./database.js";
import { isTrue } from "./dialect.js";
import { type QueuedCall, queuedColumns, type QueuedRow, toQueuedCall } from "./fetch-stream.js";
import type { StreamLease } from "./serve-stream.js";

/** What a look at a stream brought of which nothing is known here. */
export interface Look {
  /** The lease is somebody else's by now. */
  isLost: boolean;
  /** The line from its head; undefined where more is called for: a person has changed something, a key is due or stands aside. */
  calls?: QueuedCall[];
}

interface LookRow extends QueuedRow {
  is_usual: boolean | number;
  is_aside: boolean | number | null;
}

/**
 * All that has to be asked before the first call is run, in one statement: whether the lease is held, whether people have
 * changed something, whether a key is due, and the line. Only for who knows no calls of the stream.
 */
export async function lookAgain(db: Database, lease: StreamLease, limit: number): Promise<Look> {
  const { dialect, tables } = db;
  const { rows } = await db.query<LookRow>(
    `select held.is_unchanged and not exists (
         select 1 from ${tables.keys} d ${dialect.useIndex("keys_due")} where d.stream = ? and d.due_at <= ${dialect.now}) as is_usual, l.*
     from (select epoch <= seen_epoch and paused_at is null as is_unchanged
       from ${tables.streams} where stream = ? and lease_token = ?) held
     left join (
       select ${queuedColumns(db)}, exists (
         select 1 from ${tables.keys} k where k.stream = c.stream and k.ordering_key = c.ordering_key) as is_aside
       from ${tables.calls} c ${dialect.useIndex("calls_line")}
       where c.state = 'pending' and c.strategy = 'keep-order' and c.stream = ? order by c.seq limit ?) l on 1 = 1`,
    [lease.stream, lease.stream, lease.token, lease.stream, limit],
  );
  const [first] = rows;
  if (!first) return { isLost: true };
  if (!isTrue(first.is_usual) || rows.some(({ is_aside }) => is_aside !== null && isTrue(is_aside)))
    return { isLost: false };
  const found = (first.seq as LookRow["seq"] | null) === null ? [] : rows;
  // The join keeps the order of its part, but does not promise to; and to ask for it once more takes longer to plan.
  const calls = found
    .map((row) => toQueuedCall(db, row, lease))
    .sort((one, other) => Number(one.seq) - Number(other.seq));
  return { isLost: false, calls };
}
