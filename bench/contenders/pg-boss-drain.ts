import { performance } from "node:perf_hooks";
import pg from "pg";
import { loadPeer } from "../harness/peers.js";
import type { Contender, Ground } from "../harness/types.js";
import { order } from "./support/carteiro-calls.js";

export interface PgBossDrainOptions {
  batchSize: number;
  /** Loops that fetch and complete beside each other. */
  loops: number;
}

interface PgBoss {
  on(event: "error", listener: (error: unknown) => void): void;
  start(): Promise<unknown>;
  stop(options: Record<string, unknown>): Promise<unknown>;
  createQueue(name: string): Promise<unknown>;
  fetch(name: string, options: { batchSize: number }): Promise<{ id: string; data: unknown }[]>;
  complete(name: string, ids: string[]): Promise<unknown>;
  insert(...args: unknown[]): Promise<unknown>;
}

interface PgBossModule {
  PgBoss?: new (options: Record<string, unknown>) => PgBoss;
  default: new (options: Record<string, unknown>) => PgBoss;
}

const QUEUE = "orders";
/** Since version 11 the queue is an argument of its own. */
const INSERTED_AT_ONCE = 10_000;

/**
 * A loop of `fetch` and `complete`: `work` looks for jobs at most every half second, and at 500 jobs a look it would drain a
 * thousand a second.
 */
export async function open({ url, calls }: Ground, { batchSize, loops }: PgBossDrainOptions): Promise<Contender> {
  const module = (await loadPeer("pg-boss")) as PgBossModule;
  const Boss = module.PgBoss ?? module.default;
  const boss = new Boss({ connectionString: url, supervise: false, schedule: false });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  await boss.createQueue(QUEUE);
  const client = new pg.Client(url);
  await client.connect();
  const drain = async (publish: (data: unknown) => Promise<void>) => {
    for (;;) {
      const jobs = await boss.fetch(QUEUE, { batchSize });
      if (jobs.length === 0) return;
      for (const { data } of jobs) await publish(data);
      await boss.complete(
        QUEUE,
        jobs.map(({ id }) => id),
      );
    }
  };
  return {
    async prepare() {
      await client.query("truncate pgboss.job");
      for (let done = 0; done < calls; done += INSERTED_AT_ONCE) {
        const jobs = Array.from({ length: Math.min(INSERTED_AT_ONCE, calls - done) }, () => ({
          name: QUEUE,
          data: order,
        }));
        await (boss.insert.length > 1 ? boss.insert(QUEUE, jobs) : boss.insert(jobs));
      }
      await client.query("vacuum analyze pgboss.job");
    },
    async measure() {
      let ran = 0;
      const began = performance.now();
      const publish = async () => {
        ran++;
      };
      await Promise.all(Array.from({ length: loops }, () => drain(publish)));
      const tookMs = performance.now() - began;
      if (ran !== calls) throw new Error(`${ran} of ${calls} jobs were run`);
      return { rate: (calls * 1000) / tookMs };
    },
    async close() {
      await boss.stop({ graceful: false });
      await client.end();
    },
  };
}
