import { setTimeout as delay } from "node:timers/promises";
import { performance } from "node:perf_hooks";
import { createOutbox } from "../../src/index.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { type Order, order } from "./support/carteiro-calls.js";
import { countStatements } from "./support/statements.js";

export interface CarteiroIdleOptions {
  /** That have had calls, and have none now. */
  streams: number;
}

const MINUTE_MS = 60_000;

/** A relayer at its default settings with nothing to do. */
export async function open({ engine, url, roundMs }: Ground, { streams }: CarteiroIdleOptions): Promise<Contender> {
  const db = openKnex(engine, url, 2);
  const outbox = createOutbox({ knex: db });
  const saved = Array.from({ length: streams }, (_, n) =>
    outbox.saveToOutbox((_order: Order) => undefined, {
      name: `publish ${n}`,
      stream: `stream ${n}`,
      strategy: n % 2 === 0 ? "keep-order" : "publish-on-commit",
    }),
  );
  await outbox.migrate();
  await outbox.transaction(async () => {
    for (const publish of saved) await publish(order);
  });
  await outbox.idle();
  await outbox.relay();
  return {
    async measure() {
      const relayer = outbox.startRelayer();
      // What it begins with is over.
      await delay(2000);
      const before = await countStatements(db, engine);
      const [began, used] = [performance.now(), process.cpuUsage()];
      await delay(roundMs);
      const { user, system } = process.cpuUsage(used);
      const minutes = (performance.now() - began) / MINUTE_MS;
      const statements = (await countStatements(db, engine)) - before;
      await relayer.stop();
      return { statements: statements / minutes, "ms of CPU": (user + system) / 1000 / minutes };
    },
    async close() {
      await outbox.close();
      await db.destroy();
    },
  };
}
