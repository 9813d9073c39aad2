import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { createAccounts, rateOf, updateAccount, WRITERS } from "./support/business.js";
import { order, settle } from "./support/carteiro-calls.js";
import { migrateGraphileWorker } from "./support/graphile-worker.js";

const JOBS = "graphile_worker._private_jobs";

/** Its `add_job` in the same transaction. */
export async function open({ engine, url, roundMs }: Ground): Promise<Contender> {
  const db = openKnex(engine, url, WRITERS);
  await migrateGraphileWorker(url);
  await createAccounts(db, engine);
  const transact = () =>
    db.transaction(async (trx) => {
      await updateAccount(trx);
      await trx.raw("select graphile_worker.add_job('publish', ?::json)", [JSON.stringify(order)]);
    });
  return {
    async prepare() {
      await db.raw(`truncate ${JOBS}`);
      for (const table of [JOBS, "accounts"]) await settle(db, engine, table);
    },
    measure: async () => ({ rate: await rateOf(roundMs, transact) }),
    close: () => db.destroy(),
  };
}
