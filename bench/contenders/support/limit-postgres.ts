import { randomUUID } from "node:crypto";
import pg from "pg";
import type { Strategy } from "../../../src/index.js";
import { CALLS, STREAM } from "./carteiro-calls.js";
import { BATCH, type Limit, type LimitRow } from "./limit.js";

/** What a function's run needs of a call. */
const COLUMNS = ["seq", "id", "function_name", "ordering_key", "headers", "payload"];

export async function openPostgresLimit(url: string, strategy: Strategy): Promise<Limit> {
  const [reader, deleter] = [new pg.Client(url), new pg.Client(url)];
  await Promise.all([reader.connect(), deleter.connect()]);
  const read = async (after: LimitRow | undefined) => {
    const { rows } = await reader.query<LimitRow>({
      name: "read",
      text: `select ${COLUMNS.join(", ")} from ${CALLS}
             where state = 'pending' and strategy = 'keep-order' and stream = $1 and seq > $2 order by seq limit ${BATCH}`,
      values: [STREAM, after?.seq ?? 0],
    });
    return rows;
  };
  const claim = async () => {
    const { rows } = await reader.query<LimitRow>({
      name: "claim",
      text: `with picked as materialized (
               select seq from ${CALLS} where state = 'pending' and strategy = 'publish-on-commit' and stream = $1
                 and due_at <= now() and (lease_until is null or lease_until <= now()) order by due_at, seq limit ${BATCH} for update skip locked)
             update ${CALLS} c set lease_id = $2, lease_until = now() + interval '60 s', fence = c.fence + 1 from picked where c.seq = picked.seq
             returning ${COLUMNS.map((column) => `c.${column}`).join(", ")}`,
      values: [STREAM, randomUUID()],
    });
    return rows;
  };
  return {
    next: strategy === "keep-order" ? read : claim,
    async remove(rows) {
      const { rowCount } = await deleter.query({
        name: "remove",
        text: `delete from ${CALLS} where seq = any($1::bigint[])`,
        values: [rows.map(({ seq }) => seq)],
      });
      return rowCount ?? 0;
    },
    close: () => Promise.all([reader.end(), deleter.end()]),
  };
}
