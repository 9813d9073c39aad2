import { performance } from "node:perf_hooks";
import { createOutbox, type Strategy } from "../../src/index.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { CALLS, copyCall, type Order, saveOriginal, settle, STREAM } from "./support/carteiro-calls.js";
import { holdOpen } from "./support/open-transaction.js";
import { type Surroundings, surround } from "./support/surroundings.js";

export interface CarteiroGrowthOptions {
  strategy: Strategy;
  /** (Default: nothing but the calls that are drained) */
  beside?: Surroundings;
  /** A transaction is open from before the first claim to after the last settle. (Default: `false`) */
  isHeldOpen?: boolean;
  /** Of each call. (Default: that of a small order) */
  payloadBytes?: number;
}

const KEYS = 1000;

/** One pass over so many calls of a stream, whatever else is in the tables. They are filled once: a round puts back what it drained. */
export async function open(ground: Ground, options: CarteiroGrowthOptions): Promise<Contender> {
  const { engine, calls } = ground;
  const { strategy, beside, isHeldOpen = false, payloadBytes } = options;
  const db = openKnex(engine, ground.url, 4);
  const outbox = createOutbox({ knex: db, concurrency: 24 });
  let ran = 0;
  outbox.saveToOutbox(
    async (_order: Order) => {
      ran++;
    },
    { name: "publish", stream: STREAM, strategy },
  );
  await outbox.migrate();
  const keys = strategy === "keep-order" ? KEYS : 0;
  let copies = beside === undefined ? 0 : await surround(db, engine, strategy, keys, beside);
  let letGo = () => Promise.resolve<unknown>(undefined);
  return {
    async prepare() {
      const original = await saveOriginal(db, strategy, payloadBytes);
      await copyCall(db, engine, original, { calls, keys, after: copies });
      copies += calls;
      await db(CALLS).where({ id: original }).delete();
      await settle(db, engine, CALLS);
      ran = 0;
      if (isHeldOpen) letGo = await holdOpen(db, engine);
    },
    async measure() {
      const began = performance.now();
      for (let found = 1; ran < calls && found > 0;) {
        ({ published: found } = await outbox.relay({ stream: STREAM, limit: calls - ran }));
      }
      const tookMs = performance.now() - began;
      await letGo();
      if (ran !== calls) throw new Error(`${ran} of ${calls} calls were run`);
      const { maxRSS } = process.resourceUsage();
      return { cost: (tookMs * 1000) / calls, peak: maxRSS / 1024 };
    },
    async close() {
      await outbox.close();
      await db.destroy();
    },
  };
}
