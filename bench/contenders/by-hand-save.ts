import { v7 } from "uuid";
import { createOutbox, type Strategy } from "../../src/index.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { createAccounts, customer, rateOf, updateAccount, WRITERS } from "./support/business.js";
import { CALLS, order, settle, STREAM } from "./support/carteiro-calls.js";

export interface ByHandSaveOptions {
  /** Whose rows they are; undefined: none are inserted, which is the transaction alone. */
  strategy?: Strategy;
}

const TABLE = "calls_by_hand";

/** What an application writes that has no library: the same row, of JSON made by hand, inserted by knex. */
export async function open({ engine, url, roundMs }: Ground, { strategy }: ByHandSaveOptions): Promise<Contender> {
  const db = openKnex(engine, url, WRITERS);
  const outbox = createOutbox({ knex: db, ownConnections: 0 });
  await outbox.migrate();
  await outbox.close();
  await db.raw(`create table ${TABLE} ${engine === "postgresql" ? `(like ${CALLS} including all)` : `like ${CALLS}`}`);
  await createAccounts(db, engine);
  const now = db.raw(engine === "postgresql" ? "clock_timestamp()" : "utc_timestamp(6)");
  const transact = () =>
    db.transaction(async (trx) => {
      await updateAccount(trx);
      if (strategy === undefined) return;
      await trx(TABLE).insert({
        id: v7(),
        function_name: "publish",
        stream: STREAM,
        strategy,
        ordering_key: Buffer.from(strategy === "keep-order" ? customer() : ""),
        codec: "json",
        version: 1,
        headers: "{}",
        payload: JSON.stringify({ json: [order] }),
        created_at: now,
        due_at: now,
      });
    });
  return {
    async prepare() {
      await db.raw(`truncate table ${TABLE}`);
      for (const table of [TABLE, "accounts"]) await settle(db, engine, table);
    },
    measure: async () => ({ rate: await rateOf(roundMs, transact) }),
    close: () => db.destroy(),
  };
}
