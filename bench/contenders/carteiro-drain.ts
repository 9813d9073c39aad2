import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { createOutbox, type Strategy } from "../../src/index.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { CALLS, type Order, seedCalls, STREAM } from "./support/carteiro-calls.js";

export interface CarteiroDrainOptions {
  strategy: Strategy;
  /** Ordering keys that the calls take in turn; 0: none. */
  keys: number;
  concurrency: number;
  /** How long each call's function takes. (Default: no time) */
  functionMs?: number;
}

/** Passes over a backlog until nothing of it is left, from the first claim to the last settle. */
export async function open(ground: Ground, options: CarteiroDrainOptions): Promise<Contender> {
  const { engine, calls } = ground;
  const { strategy, keys, concurrency, functionMs = 0 } = options;
  const db = openKnex(engine, ground.url, 4);
  const outbox = createOutbox({ knex: db, concurrency });
  let ran = 0;
  const publish =
    functionMs === 0
      ? async (_order: Order) => {
          ran++;
        }
      : async (_order: Order) => {
          await delay(functionMs);
          ran++;
        };
  outbox.saveToOutbox(publish, { name: "publish", stream: STREAM, strategy });
  await outbox.migrate();
  return {
    async prepare() {
      await seedCalls(db, engine, { calls, strategy, keys });
      ran = 0;
    },
    async measure() {
      const began = performance.now();
      for (let published = 0, found = 1; published < calls && found > 0; published += found) {
        ({ published: found } = await outbox.relay());
      }
      const tookMs = performance.now() - began;
      const left = await db(CALLS).count({ count: "*" }).first();
      if (ran !== calls || Number(left?.count) > 0) {
        throw new Error(`${ran} of ${calls} calls were run, and ${left?.count} are left`);
      }
      return { rate: (calls * 1000) / tookMs };
    },
    async close() {
      await outbox.close();
      await db.destroy();
    },
  };
}
