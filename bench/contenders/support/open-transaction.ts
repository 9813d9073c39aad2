import type { Knex } from "knex";
import type { Engine } from "../../harness/types.js";
import { CALLS } from "./carteiro-calls.js";

/** A transaction that has read something, and stays: what is deleted from now on can be cleared away only when it ends. */
export async function holdOpen(db: Knex, engine: Engine): Promise<() => Promise<unknown>> {
  const trx = await db.transaction({ isolationLevel: "repeatable read" });
  // The snapshot is taken by the first read, on both.
  await trx.raw(`select seq from ${CALLS} limit 1`);
  if (engine === "mysql") await trx.raw("select stream from carteiro_streams limit 1");
  return () => trx.rollback();
}
