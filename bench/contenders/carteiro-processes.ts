import { performance } from "node:perf_hooks";
import { createOutbox } from "../../src/index.js";
import type { CarteiroRelayOptions, CarteiroRelayReport } from "../assistants/carteiro-relay.js";
import { startAssistant } from "../harness/assistant.js";
import { openKnex } from "../harness/open-knex.js";
import type { Contender, Ground } from "../harness/types.js";
import { CALLS, seedCalls } from "./support/carteiro-calls.js";

export interface CarteiroProcessesOptions {
  processes: number;
  concurrency: number;
  functionMs: number;
}

/** One pass by each of so many processes at once, over one backlog. */
export async function open({ engine, url, calls }: Ground, options: CarteiroProcessesOptions): Promise<Contender> {
  const { processes, ...others } = options;
  const strategy = "publish-on-commit";
  const db = openKnex(engine, url, 1);
  const outbox = createOutbox({ knex: db, ownConnections: 0 });
  await outbox.migrate();
  await outbox.close();
  const relay: CarteiroRelayOptions = { engine, url, strategy, loops: false, ...others };
  const assistants = await Promise.all(
    Array.from({ length: processes }, () =>
      startAssistant<object, CarteiroRelayReport>("carteiro-relay", [JSON.stringify(relay)]),
    ),
  );
  return {
    prepare: () => seedCalls(db, engine, { calls, strategy, keys: 0 }),
    async measure() {
      const began = performance.now();
      for (const assistant of assistants) assistant.tell({});
      const reports = await Promise.all(assistants.map((assistant) => assistant.next()));
      const tookMs = performance.now() - began;
      const published = reports.reduce((sum, report) => sum + ("published" in report ? report.published : 0), 0);
      const left = await db(CALLS).count({ count: "*" }).first();
      if (published !== calls || Number(left?.count) > 0) {
        throw new Error(`${published} of ${calls} calls were published, and ${left?.count} are left`);
      }
      return { rate: (calls * 1000) / tookMs };
    },
    async close() {
      await Promise.all(assistants.map((assistant) => assistant.close()));
      await db.destroy();
    },
  };
}
