import { performance } from "node:perf_hooks";
import SuperJSON from "superjson";
import { createOutbox, type Strategy } from "../../src/index.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { type Order, seedCalls } from "./support/carteiro-calls.js";
import { openMysqlLimit } from "./support/limit-mysql.js";
import { openPostgresLimit } from "./support/limit-postgres.js";

export interface LimitDrainOptions {
  strategy: Strategy;
  keys: number;
  payloadBytes?: number;
}

/** No library between the rows and the function: reads the same rows of the same tables, decodes the same text, deletes. */
export async function open({ engine, url, calls }: Ground, options: LimitDrainOptions): Promise<Contender> {
  const db = openKnex(engine, url, 1);
  const outbox = createOutbox({ knex: db, ownConnections: 0 });
  await outbox.migrate();
  await outbox.close();
  const limit = await (engine === "postgresql" ? openPostgresLimit : openMysqlLimit)(url, options.strategy);
  let ran = 0;
  const publish = async (_order: Order) => {
    ran++;
  };
  const drain = async () => {
    let removed = 0;
    let removing: Promise<number> = Promise.resolve(0);
    let next = limit.next(undefined);
    for (let rows = await next; rows.length > 0; rows = await next) {
      next = limit.next(rows.at(-1));
      for (const { payload } of rows) await publish(...SuperJSON.parse<[Order]>(payload));
      removed += await removing;
      removing = limit.remove(rows);
    }
    return removed + (await removing);
  };
  return {
    async prepare() {
      await seedCalls(db, engine, { calls, ...options });
      ran = 0;
    },
    async measure() {
      const began = performance.now();
      const removed = await drain();
      const tookMs = performance.now() - began;
      if (ran !== calls || removed !== calls) throw new Error(`${ran} of ${calls} were run, ${removed} removed`);
      return { rate: (calls * 1000) / tookMs, cost: (tookMs * 1000) / calls };
    },
    async close() {
      await limit.close();
      await db.destroy();
    },
  };
}
