import { performance } from "node:perf_hooks";
import { createOutbox, type Strategy } from "../../src/index.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { createAccounts, customer, rateOf, updateAccount, write, WRITERS } from "./support/business.js";
import { CALLS, type Order, order, settle, STREAM } from "./support/carteiro-calls.js";

export interface CarteiroSaveOptions {
  strategy: Strategy;
  /** Calls are run and settled within the round; else they are stored alone. */
  runs: boolean;
  /** (Default: the outbox's) */
  writersLock?: boolean;
}

/** A business transaction with one saved call, by `outbox.transaction`. */
export async function open({ engine, url, roundMs }: Ground, options: CarteiroSaveOptions): Promise<Contender> {
  const { strategy, runs, ...others } = options;
  const db = openKnex(engine, url, WRITERS);
  const outbox = createOutbox({ knex: db, ...others });
  let ran = 0;
  const publish = outbox.saveToOutbox(
    async (_order: Order) => {
      ran++;
    },
    { name: "publish", stream: STREAM, strategy },
  );
  await outbox.migrate();
  await createAccounts(db, engine);
  const save = () => {
    if (strategy === "keep-order") return publish.with({ orderingKey: customer() })(order);
    // Nobody runs what is due tomorrow.
    return runs ? publish(order) : publish.with({ delay: "1d" })(order);
  };
  const transact = () =>
    outbox.transaction(async (trx) => {
      await updateAccount(trx);
      await save();
    });
  const saveAndRun = async () => {
    const began = performance.now();
    const saved = await write(roundMs, transact);
    await outbox.idle();
    // A commit's hint is a hint: what too many writers left behind is the relay's.
    while (ran < saved) await outbox.relay();
    const tookMs = performance.now() - began;
    const left = await db(CALLS).count({ count: "*" }).first();
    if (ran !== saved || Number(left?.count) > 0)
      throw new Error(`${ran} of ${saved} were run, ${left?.count} are left`);
    return (saved * 1000) / tookMs;
  };
  return {
    async prepare() {
      ran = 0;
      await db.raw(`truncate table ${CALLS}`);
      for (const table of [CALLS, "accounts"]) await settle(db, engine, table);
    },
    measure: async () => ({ rate: await (runs ? saveAndRun() : rateOf(roundMs, transact)) }),
    async close() {
      await outbox.close();
      await db.destroy();
    },
  };
}
