import { randomUUID } from "node:crypto";
import pg from "pg";
import { v7 } from "uuid";
import { createOutbox } from "../../src/index.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { createAccounts, updateAccount } from "./support/business.js";
import { CALLS, order, STREAM } from "./support/carteiro-calls.js";
import { watchCommits } from "./support/commits.js";
import { latencies, sharedNowMs } from "./support/latency.js";

/** The same commit, then one prepared statement on another connection, sent as soon as the commit is known: nothing is faster. */
export async function open({ engine, url, calls }: Ground): Promise<Contender> {
  const db = openKnex(engine, url, 2);
  const outbox = createOutbox({ knex: db, ownConnections: 0 });
  await outbox.migrate();
  await outbox.close();
  await createAccounts(db, engine);
  const commits = watchCommits(db);
  const client = new pg.Client(url);
  await client.connect();
  const claim = async (id: string) => {
    const { rowCount } = await client.query({
      name: "claim",
      text: `update ${CALLS} set lease_id = $1, lease_until = now() + interval '60 s', fence = fence + 1 where id = $2
             returning seq, id, function_name, ordering_key, headers, payload`,
      values: [randomUUID(), id],
    });
    if (rowCount !== 1) throw new Error("the row is not there");
  };
  return {
    async measure() {
      const [afterCommit, fromCommit]: [number[], number[]] = [[], []];
      for (let n = 0; n < calls; n++) {
        const id = v7();
        await db.transaction(async (trx) => {
          await updateAccount(trx);
          const now = trx.raw("clock_timestamp()");
          const row = { function_name: "publish", stream: STREAM, strategy: "publish-on-commit", codec: "json" };
          await trx(CALLS).insert({
            ...row,
            id,
            ordering_key: Buffer.alloc(0),
            version: 1,
            headers: "{}",
            payload: JSON.stringify({ json: [order] }),
            created_at: now,
            due_at: now,
          });
        });
        const committedAtMs = sharedNowMs();
        await claim(id);
        const claimedAtMs = sharedNowMs();
        afterCommit.push(claimedAtMs - committedAtMs);
        fromCommit.push(claimedAtMs - commits.sentAtMs);
        await client.query({ name: "delete", text: `delete from ${CALLS} where id = $1`, values: [id] });
      }
      return { ...latencies(afterCommit), ...latencies(fromCommit, " from COMMIT") };
    },
    async close() {
      await client.end();
      await db.destroy();
    },
  };
}
