import { createOutbox } from "../../src/index.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { createAccounts, updateAccount } from "./support/business.js";
import { type Order, order, STREAM } from "./support/carteiro-calls.js";
import { watchCommits } from "./support/commits.js";
import { latencies, sharedNowMs } from "./support/latency.js";

/** From the commit, as its caller sees it, to the function's first line, in the process that committed. */
export async function open({ engine, url, calls }: Ground): Promise<Contender> {
  const db = openKnex(engine, url, 2);
  const outbox = createOutbox({ knex: db });
  let enteredAtMs = 0;
  const publish = outbox.saveToOutbox(
    async (_order: Order) => {
      enteredAtMs = sharedNowMs();
    },
    { name: "publish", stream: STREAM, strategy: "publish-on-commit" },
  );
  await outbox.migrate();
  await createAccounts(db, engine);
  const commits = watchCommits(db);
  return {
    async measure() {
      const [afterCommit, fromCommit]: [number[], number[]] = [[], []];
      for (let n = 0; n < calls; n++) {
        enteredAtMs = 0;
        await outbox.transaction(async (trx) => {
          await updateAccount(trx);
          await publish(order);
        });
        const committedAtMs = sharedNowMs();
        await outbox.idle();
        if (enteredAtMs === 0) throw new Error("the call was not run by the process that committed it");
        afterCommit.push(enteredAtMs - committedAtMs);
        fromCommit.push(enteredAtMs - commits.sentAtMs);
      }
      return { ...latencies(afterCommit), ...latencies(fromCommit, " from COMMIT") };
    },
    async close() {
      await outbox.close();
      await db.destroy();
    },
  };
}
