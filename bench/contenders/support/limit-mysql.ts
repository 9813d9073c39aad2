import { randomUUID } from "node:crypto";
import mysql, { type ResultSetHeader, type RowDataPacket } from "mysql2/promise";
import type { Strategy } from "../../../src/index.js";
import { CALLS, STREAM } from "./carteiro-calls.js";
import { BATCH, type Limit, type LimitRow } from "./limit.js";

type Row = LimitRow & RowDataPacket;

/** What a function's run needs of a call. */
const COLUMNS = "seq, id, function_name, ordering_key, headers, payload";

export async function openMysqlLimit(url: string, strategy: Strategy): Promise<Limit> {
  const [reader, deleter] = await Promise.all([mysql.createConnection(url), mysql.createConnection(url)]);
  await reader.query("set session transaction isolation level read committed");
  const read = async (after: LimitRow | undefined) => {
    const [rows] = await reader.execute<Row[]>(
      `select ${COLUMNS} from ${CALLS} force index (calls_line)
       where state = 'pending' and strategy = 'keep-order' and stream = ? and seq > ? order by seq limit ${BATCH}`,
      [STREAM, after?.seq ?? 0],
    );
    return rows;
  };
  /** No RETURNING: who updates as many as it has read has claimed them. */
  const claim = async () => {
    const [rows] = await reader.execute<Row[]>(
      `select ${COLUMNS} from ${CALLS} force index (calls_due)
       where state = 'pending' and strategy = 'publish-on-commit' and stream = ? and due_at <= utc_timestamp(6)
         and (lease_until is null or lease_until <= utc_timestamp(6))
       order by due_at, seq limit ${BATCH}`,
      [STREAM],
    );
    if (rows.length === 0) return rows;
    const [{ affectedRows }] = await reader.query<ResultSetHeader>(
      `update ${CALLS} force index (primary) set lease_id = ?, lease_until = utc_timestamp(6) + interval 60 second, fence = fence + 1
       where seq in (?) and state = 'pending' and (lease_until is null or lease_until <= utc_timestamp(6))`,
      [randomUUID(), rows.map(({ seq }) => seq)],
    );
    if (affectedRows !== rows.length) throw new Error("somebody else claims, too");
    return rows;
  };
  return {
    next: strategy === "keep-order" ? read : claim,
    async remove(rows) {
      const [{ affectedRows }] = await deleter.query<ResultSetHeader>(`delete from ${CALLS} where seq in (?)`, [
        rows.map(({ seq }) => seq),
      ]);
      return affectedRows;
    },
    close: () => Promise.all([reader.end(), deleter.end()]),
  };
}
