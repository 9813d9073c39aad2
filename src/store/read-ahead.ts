import type { Database } from "./database.js";
import { isTrue, type Seq } from "./dialect.js";
import { keyOfCall, payloadAhead, type QueuedCall } from "./fetch-stream.js";
import type { StreamLease } from "./serve-stream.js";
import { LineCall } from "./line-call.js";
import { type CallRow, callColumns, noCall } from "./stored-call.js";

/** What follows in the line behind a call that was read before. */
export interface Ahead {
  calls: QueuedCall[];
  /** All that is in the line up to that call, in no order. */
  before: string[];
}

interface AheadRow extends CallRow {
  /** Null where it is due, and does not stand aside. */
  is_due: boolean | number | null;
  is_aside: boolean | number | null;
  /** The rest is of the first row, which is no call. */
  is_usual: boolean | number | null;
  count_before: number | string | null;
  seqs_before: string | null;
  read_ms: number | string | null;
}

/** What one who serves a stream knows of its calls. */
const KNOWN = ["stream", "strategy", "fence", "nowMs"] as const;

/**
 * Reads on behind `after`, while what was read before is being run and settled. A cursor passes over what commits late with a
 * smaller `seq`, and what the same key got next would overtake it. So the statement, which is one snapshot, also names all
 * that is left up to the cursor: one who knows each of these calls has missed none.
 *
 * @param running keys that stand aside and are being run
 * @returns undefined where a look from the head is called for: a person has changed something, a key is due or stands aside, the lease is gone
 */
export async function readAhead(
  db: Database,
  lease: StreamLease,
  after: Seq,
  limit: number,
  running: readonly Buffer[],
): Promise<Ahead | undefined> {
  const { dialect, tables } = db;
  const line = `c.state = 'pending' and c.strategy = 'keep-order' and c.stream = ?`;
  const others = running.length > 0 ? `and not ${dialect.among("k.ordering_key")}` : "";
  const { rows } = await db.query<AheadRow>(
    `select ${noCall(dialect, KNOWN)}, null as is_due, null as is_aside,
       exists (select 1 from ${tables.streams} s
         where s.stream = ? and s.lease_token = ? and s.epoch <= s.seen_epoch and s.paused_at is null)
       and not exists (select 1 from ${tables.keys} k where k.stream = ? and k.due_at <= ${dialect.now} ${others}) as is_usual,
       count(*) as count_before, ${dialect.joined("c.seq")} as seqs_before, ${dialect.epochMs(dialect.now)} as read_ms
     from ${tables.calls} c ${dialect.useIndex("calls_line")} where ${line} and c.seq <= ?
     union all
     (select ${callColumns(dialect, "c", payloadAhead("c", "k.stream is null"), KNOWN, dialect.keyColumn("c.ordering_key"))},
        case when c.due_at > ${dialect.now} then 0 = 1 end, case when k.stream is not null then 1 = 1 end, null, null, null, null
      from ${tables.calls} c ${dialect.useIndex("calls_line")} left join ${keyOfCall(db)}
      where ${line} and c.seq > ? order by c.seq limit ?)`,
    [
      ...[lease.stream, lease.token, lease.stream, ...(running.length > 0 ? [running] : []), lease.stream, after],
      ...[lease.stream, after, limit],
    ],
  );
  const [look, ...found] = rows;
  if (!look || !isTrue(look.is_usual) || found.some(({ is_aside }) => is_aside !== null)) return undefined;
  const before = look.seqs_before === null ? [] : look.seqs_before.split(",");
  if (before.length !== Number(look.count_before)) return undefined;
  // A union keeps its parts' order, but does not promise to.
  if (found.some(({ seq }, place) => Number(seq) <= Number(found[place - 1]?.seq ?? after))) return undefined;
  const nowMs = Number(look.read_ms);
  const read = { stream: lease.stream, fence: lease.fence, nowMs, clockOffsetMs: nowMs - Date.now() };
  const calls = found.map((row) => new LineCall(row, dialect.keyName(row.ordering_key), row.is_due === null, read));
  return { calls, before };
}
