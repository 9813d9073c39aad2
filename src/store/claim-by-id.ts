import { randomUUID } from "node:crypto";
import { CLAIMABLE, type ClaimedCall, ClaimedReadCall, notPaused } from "./claim-calls.js";
import type { Database } from "./database.js";
import { payloadAhead } from "./fetch-stream.js";
import { selectList } from "./joined-rows.js";
import { type CallRow, callColumns, readingOf } from "./stored-call.js";

/**
 * Claims calls that a commit was hinted for, and that nobody has claimed yet. A hint may be false, and a relay may have been
 * faster: what is not there, not pending, not due, paused, or was claimed before is left out.
 *
 * They are few, so that planning is most of the work: of ten, this took 0.37 ms on PostgreSQL, and the statement that claims what
 * is due 0.73.
 */
export async function claimById(db: Database, ids: readonly string[], leaseMs: number): Promise<ClaimedCall[]> {
  if (ids.length === 0) return [];
  const token = randomUUID();
  const rows = db.dialect.returning
    ? await claimAtOnce(db, ids, leaseMs, token)
    : await claimByReadingFirst(db, ids, leaseMs, token);
  const reading = readingOf(rows[0]?.now_ms, { strategy: "publish-on-commit", fence: 1 });
  return rows.map((row) => new ClaimedReadCall({ ...row, former_token: null }, db.dialect, reading, token));
}

function unclaimed(db: Database, ids: readonly string[]) {
  return {
    // As a test that no other index can serve: planned for a table that nobody has analyzed, a call was looked for by the index of
    // what is due (seen: all that was due was read, and all that was dead there).
    sql: `${db.dialect.among("c.id")} and (${CLAIMABLE(db)} and c.fence = 0) is true and ${notPaused(db, "c.stream")}`,
    bindings: [ids],
  };
}

function read({ dialect }: Database): string {
  const columns = callColumns(dialect, "c", payloadAhead("c"), ["strategy", "fence", "nowMs"]);
  return `${selectList(columns)}, ${dialect.epochMs(dialect.now)} as now_ms`;
}

async function claimAtOnce(db: Database, ids: readonly string[], leaseMs: number, token: string): Promise<CallRow[]> {
  const { sql, bindings } = unclaimed(db, ids);
  const { rows } = await db.query<CallRow>(
    `update ${db.tables.calls} c set lease_id = ?, lease_until = ${db.dialect.after("?")}, fence = 1 where ${sql} returning ${read(db)}`,
    [token, leaseMs, ...bindings],
  );
  return rows;
}

/** What is not committed yet would keep an update waiting. What was read of a call that nobody had claimed is so still, if the update takes it. */
async function claimByReadingFirst(
  db: Database,
  ids: readonly string[],
  leaseMs: number,
  token: string,
): Promise<CallRow[]> {
  const { dialect, tables } = db;
  const { sql, bindings } = unclaimed(db, ids);
  const { rows } = await db.query<CallRow>(
    `select ${read(db)} from ${tables.calls} c ${dialect.useIndex("calls_id")} where ${sql}`,
    bindings,
  );
  if (rows.length === 0) return [];
  const seqs = dialect.seqs(rows.map(({ seq }) => seq));
  const { count } = await db.query(
    `update ${tables.calls} ${dialect.useIndex("primary")} set lease_id = ?, lease_until = ${dialect.after("?")}, fence = 1
     where ${dialect.among("seq")} and ${CLAIMABLE(db)} and fence = 0`,
    [token, leaseMs, seqs],
  );
  if (count === rows.length) return rows;
  const { rows: claimed } = await db.query<Pick<CallRow, "seq">>(
    `select seq from ${tables.calls} ${dialect.useIndex("primary")} where ${dialect.among("seq")} and lease_id = ?`,
    [seqs, token],
  );
  const ours = new Set(claimed.map(({ seq }) => seq));
  return rows.filter(({ seq }) => ours.has(seq));
}
