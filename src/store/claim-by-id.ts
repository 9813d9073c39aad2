import { randomUUID } from "node:crypto";
import {
  CLAIMABLE,
  type ClaimedCall,
  ClaimedReadCall,
  type ClaimedRow,
  lockAndClaim,
  notPaused,
} from "./claim-calls.js";
import type { Database } from "./database.js";
import { payloadAhead } from "./fetch-stream.js";
import { type Column, selectList } from "./joined-rows.js";
import { callColumns, readingOf } from "./stored-call.js";

/**
 * Claims calls that a commit was hinted for, and that nobody has claimed yet. A hint may be false, and a relay may have been
 * faster: what is not there, not pending, not due, paused, or was claimed before is left out.
 *
 * They are few, so that planning is most of the work: of ten, this took the server 0.48 ms on PostgreSQL, and the statement that
 * claims what is due 0.71.
 */
export async function claimById(db: Database, ids: readonly string[], leaseMs: number): Promise<ClaimedCall[]> {
  if (ids.length === 0) return [];
  const token = randomUUID();
  const { dialect } = db;
  const rows = dialect.returning
    ? await claimAtOnce(db, ids, leaseMs, token)
    : await lockAndClaim(db, {
        sql: `${dialect.useIndex("calls_id")} where ${unclaimed(db)}`,
        bindings: [ids],
        columns: columns(db),
        leaseMs,
        token,
      });
  const reading = readingOf(rows[0]?.now_ms, { strategy: "publish-on-commit", fence: 1 });
  return rows.map((row) => new ClaimedReadCall(row, dialect, reading, token));
}

/** As a test that no other index can serve: planned for a table that nobody has analyzed, a call was looked for by the index of what
 * is due (seen: all that was due was read, and all that was dead there). */
function unclaimed(db: Database): string {
  return `${db.dialect.among("c.id")} and (${CLAIMABLE(db)} and c.fence = 0) is true and ${notPaused(db, "c.stream")}`;
}

function columns({ dialect }: Database): Column[] {
  return callColumns(dialect, "c", payloadAhead("c"), ["strategy", "fence", "nowMs"]);
}

/** Nothing is waited for: who has locked a row may be a person, who would hold up all that is hinted for afterwards. */
async function claimAtOnce(
  db: Database,
  ids: readonly string[],
  leaseMs: number,
  token: string,
): Promise<ClaimedRow[]> {
  const { dialect, tables } = db;
  const { rows } = await db.query<ClaimedRow>(
    `update ${tables.calls} c set lease_id = ?, lease_until = ${dialect.after("?")}, fence = 1
     where c.ctid = any (array(select c.ctid from ${tables.calls} c where ${unclaimed(db)} for update skip locked))
     returning ${selectList(columns(db))}, null as former_token, ${dialect.epochMs(dialect.now)} as now_ms`,
    [token, leaseMs, ids],
  );
  return rows;
}
