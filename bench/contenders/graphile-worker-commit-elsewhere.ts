import { startAssistant } from "../harness/assistant.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { createAccounts, updateAccount } from "./support/business.js";
import { order } from "./support/carteiro-calls.js";
import { sampleElsewhere } from "./support/elsewhere.js";
import { migrateGraphileWorker } from "./support/graphile-worker.js";

/** Added here, run by a worker in another process. */
export async function open({ engine, url, calls }: Ground): Promise<Contender> {
  const db = openKnex(engine, url, 2);
  await migrateGraphileWorker(url);
  await createAccounts(db, engine);
  const elsewhere = await startAssistant<object, { enteredAtMs: number }>("graphile-worker-run", [url]);
  const transact = () =>
    db.transaction(async (trx) => {
      await updateAccount(trx);
      await trx.raw("select graphile_worker.add_job('publish', ?::json)", [JSON.stringify(order)]);
    });
  return {
    measure: () => sampleElsewhere(db, calls, transact, elsewhere),
    async close() {
      await elsewhere.close();
      await db.destroy();
    },
  };
}
