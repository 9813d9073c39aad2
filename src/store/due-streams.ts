import type { Strategy } from "../types.js";
import type { Database } from "./database.js";
import { isTrue } from "./dialect.js";

/** A stream that a relay should look at. */
export interface DueStream {
  stream: string;
  strategy: Strategy;
}

/** The database's clock, in milliseconds since 1970. */
export async function readClock(db: Database): Promise<number> {
  const { rows } = await db.query<{ now_ms: number | string }>(
    `select ${db.dialect.epochMs(db.dialect.now)} as now_ms`,
  );
  return Number(rows[0]?.now_ms);
}

/**
 * The streams with something to do, except paused ones, and keep-order ones that somebody is serving. Keys stand aside under
 * their stream's lease, so that its row is there; one key of each is read: grouped by stream, MariaDB read all of them (seen: 1,500 of 1,500).
 */
export async function dueStreams(db: Database): Promise<DueStream[]> {
  const { dialect, tables } = db;
  const pending = (strategy: Strategy) => ({ state: "pending", strategy });
  const { rows } = await db.query<DueStream>(
    `select p.stream, 'publish-on-commit' as strategy from (${dialect.streamsOf(tables.calls, pending("publish-on-commit"), true)}) p
     where not exists (select 1 from ${tables.streams} s where s.stream = p.stream and s.paused_at is not null)
     union all
     select d.stream, 'keep-order' as strategy from (
       select stream from (${dialect.streamsOf(tables.calls, pending("keep-order"), false)}) l
       union
       select stream from ${tables.streams} led where (
         select due_at from ${tables.keys} k ${dialect.useIndex("keys_due")} where k.stream = led.stream order by due_at limit 1
       ) <= ${dialect.now}
     ) d
     where not exists (select 1 from ${tables.streams} s where s.stream = d.stream
       and (s.paused_at is not null or s.lease_until > ${dialect.now}))`,
  );
  return rows;
}

/**
 * Those of these keep-order streams that have something to do. For one that was named by a wake-up: on PostgreSQL it takes a
 * fraction of a look at all streams, most of which is planning (seen).
 */
export async function dueAmong(db: Database, streams: readonly string[]): Promise<DueStream[]> {
  const { dialect, tables } = db;
  const isDue = `(
      exists (select 1 from ${tables.calls} c ${dialect.useIndex("calls_line")}
        where c.state = 'pending' and c.strategy = 'keep-order' and c.stream = ?)
      or exists (select 1 from ${tables.keys} k ${dialect.useIndex("keys_due")} where k.stream = ? and k.due_at <= ${dialect.now})
    ) and not exists (select 1 from ${tables.streams} s
      where s.stream = ? and (s.paused_at is not null or s.lease_until > ${dialect.now}))`;
  const { rows } = await db.query<{ place: number; is_due: boolean | number }>(
    streams.map((_, place) => `select ${place} as place, ${isDue} as is_due`).join(" union all "),
    streams.flatMap((stream) => [stream, stream, stream]),
  );
  const due = rows.filter(({ is_due }) => isTrue(is_due)).map(({ place }) => streams[place] as string);
  return due.map((stream) => ({ stream, strategy: "keep-order" }));
}
