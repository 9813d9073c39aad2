import { HIDDEN } from "./call-filter.js";
import type { Database } from "./database.js";
import type { Seq } from "./dialect.js";
import { placeOf, wakeKeys } from "./operate-calls.js";
import { firstOf, type Head } from "./operate-streams.js";
import { changeStream } from "./stream-changes.js";

/**
 * How a person takes keep-order calls away from a process that may have read them ahead: they are hidden, as dead ones that
 * are not settled, so that nobody reads them any more; then the holder's confirmation is waited for; what it was running is
 * restored, the rest is given up, or deleted. Why they went is the first line of their last error from the beginning: the
 * process that hides them may not come to the end of this.
 */

const DISCARDED = "discarded by a person";
const SKIPPED = "skipped by a person";

/** @returns the epoch to be confirmed */
export async function hideCalls(db: Database, stream: string, seqs: readonly Seq[]): Promise<string> {
  const { dialect, tables } = db;
  const { epoch } = await changeStream(db, stream, async (connection) => {
    await connection.query(
      `update ${tables.calls} ${dialect.useIndex("primary")}
       set state = 'dead', settled_at = null, last_error = ${noted(`'${DISCARDED}'`)}
       where ${dialect.among("seq")} and state in ('pending', 'held')`,
      [seqs],
    );
    await wakeKeys(db, connection, stream, seqs);
  });
  return epoch;
}

/**
 * Hides the first call of a key, unless another one is meant.
 *
 * @returns it, and the epoch to be confirmed
 */
export async function hideHead(
  db: Database,
  stream: string,
  key: Buffer,
  { reason, id: only }: { reason?: string | undefined; id?: string | undefined } = {},
): Promise<{ head: Head | undefined; epoch: string }> {
  const { dialect, tables } = db;
  const note = dialect.text(reason === undefined ? SKIPPED : `${SKIPPED}: ${onOneLine(reason)}`);
  const { result: head, epoch } = await changeStream(db, stream, async (connection) => {
    const first = await firstOf(db, connection, stream, key);
    if (!first || (only !== undefined && only !== first.id)) return first;
    await connection.query(
      `update ${tables.calls} ${dialect.useIndex("primary")}
       set state = 'dead', settled_at = null, last_error = ${noted(note.sql)} where seq = ?`,
      [note.binding, first.seq],
    );
    await wakeKeys(db, connection, stream, [first.seq]);
    return first;
  });
  return { head, epoch };
}

/** @returns how many came back: those that were not settled in the meantime */
export async function restoreHidden(db: Database, stream: string, seqs: readonly Seq[]): Promise<number> {
  const { dialect, tables } = db;
  if (seqs.length === 0) return 0;
  const { result } = await changeStream(db, stream, async (connection) => {
    const { count } = await connection.query(
      `update ${tables.calls} ${dialect.useIndex("primary")}
       set state = ${placeOf(db)}, settled_at = null, last_error = ${WITHOUT_NOTE}
       where ${dialect.among("seq")} and ${HIDDEN}`,
      [seqs],
    );
    return count;
  });
  return result;
}

/** @returns whether it was still hidden: one that was running is gone, or back, once it has been settled */
export async function giveUpHidden(db: Database, seq: Seq): Promise<boolean> {
  const { dialect, tables } = db;
  const { count } = await db.query(
    `update ${tables.calls} ${dialect.useIndex("primary")} set settled_at = ${dialect.now}
     where seq = ? and ${HIDDEN}`,
    [seq],
  );
  return count > 0;
}

/** In front of the last error, if there is one. */
function noted(note: string): string {
  return `concat_ws('\n', ${note}, last_error)`;
}

/** Two people may hide a call one after the other, and one restores what the other one noted. */
const WITHOUT_NOTE = `case when last_error like '${DISCARDED}%' or last_error like '${SKIPPED}%'
  then case when position('\n' in last_error) > 0 then substr(last_error, position('\n' in last_error) + 1) end
  else last_error end`;

/** The note ends with its line. */
function onOneLine(reason: string): string {
  return reason.trim().replace(/\s*[\r\n]+\s*/g, " ");
}
