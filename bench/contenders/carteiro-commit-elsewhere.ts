import { createOutbox } from "../../src/index.js";
import type { CarteiroRelayOptions } from "../assistants/carteiro-relay.js";
import { startAssistant } from "../harness/assistant.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { createAccounts, updateAccount } from "./support/business.js";
import { type Order, order, STREAM } from "./support/carteiro-calls.js";
import { sampleElsewhere } from "./support/elsewhere.js";

/** Saved here, run by the relayer of another process; all options are the defaults. */
export async function open({ engine, url, calls }: Ground): Promise<Contender> {
  const db = openKnex(engine, url, 2);
  const outbox = createOutbox({ knex: db });
  const strategy = "keep-order";
  const publish = outbox.saveToOutbox((_order: Order) => undefined, { name: "publish", stream: STREAM, strategy });
  await outbox.migrate();
  await createAccounts(db, engine);
  const options: CarteiroRelayOptions = { engine, url, strategy, functionMs: 0, loops: true };
  const elsewhere = await startAssistant<object, { enteredAtMs: number }>("carteiro-relay", [JSON.stringify(options)]);
  const transact = () =>
    outbox.transaction(async (trx) => {
      await updateAccount(trx);
      await publish(order);
    });
  return {
    measure: () => sampleElsewhere(db, calls, transact, elsewhere),
    async close() {
      await elsewhere.close();
      await outbox.close();
      await db.destroy();
    },
  };
}
