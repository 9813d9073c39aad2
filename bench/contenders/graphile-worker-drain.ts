import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Contender, Ground } from "../harness/types.js";
import { loadGraphileWorker, migrateGraphileWorker, quiet } from "./support/graphile-worker.js";
import { order } from "./support/carteiro-calls.js";

export interface GraphileWorkerDrainOptions {
  /** Its settings, such as `{ concurrentJobs: 24 }`. */
  worker: Record<string, unknown>;
}

export async function open({ url, calls }: Ground, { worker }: GraphileWorkerDrainOptions): Promise<Contender> {
  const { run } = await loadGraphileWorker();
  await migrateGraphileWorker(url);
  const pool = new pg.Pool({ connectionString: url, max: 30 });
  pool.on("error", (error) => console.error(error));
  pool.on("connect", (client) => client.on("error", (error) => console.error(error)));
  const isEmpty = async () => {
    const { rowCount } = await pool.query("select 1 from graphile_worker._private_jobs limit 1");
    return rowCount === 0;
  };
  return {
    async prepare() {
      await pool.query("truncate graphile_worker._private_jobs");
      const job = "json_build_object('identifier', 'publish', 'payload', $1::json)";
      await pool.query(
        `select graphile_worker.add_jobs(array_agg(json_populate_record(null::graphile_worker.job_spec, ${job})))
         from generate_series(1, ${calls})`,
        [JSON.stringify(order)],
      );
      await pool.query("vacuum analyze graphile_worker._private_jobs");
    },
    async measure() {
      let ran = 0;
      let onAll = () => {};
      const all = new Promise<void>((resolve) => (onAll = resolve));
      const publish = async () => {
        if (++ran === calls) onAll();
      };
      const began = performance.now();
      const runner = await run({
        pgPool: pool,
        taskList: { publish },
        noHandleSignals: true,
        preset: { worker: { logger: await quiet(), ...worker } },
      });
      await all;
      while (!(await isEmpty())) await delay(1);
      const tookMs = performance.now() - began;
      await runner.stop();
      return { rate: (calls * 1000) / tookMs };
    },
    close: () => pool.end(),
  };
}
