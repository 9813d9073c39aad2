import type { Knex } from "knex";
import type { Engine } from "../../harness/types.js";

/** How many statements the server has got by now, as it counts them itself; on PostgreSQL each is a transaction. */
export async function countStatements(db: Knex, engine: Engine): Promise<number> {
  if (engine === "mysql") {
    // Of the whole server: nobody else may be at work.
    const answer = (await db.raw("show global status like 'Questions'")) as unknown as [{ Value: string }[]];
    return Number(answer[0][0]!.Value);
  }
  const { rows } = await db.raw<{ rows: { transactions: string }[] }>(
    "select xact_commit + xact_rollback as transactions from pg_stat_database where datname = current_database()",
  );
  return Number(rows[0]!.transactions);
}
