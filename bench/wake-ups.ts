/** What telling other processes of a commit costs who saves, and what it brings them: `npm run bench:wake-ups`. */
import { setTimeout as delay } from "node:timers/promises";
import { createOutbox, type OutboxOptions } from "../src/index.js";
import { compare } from "./harness/rounds.js";
import { onEachServer } from "./harness/servers.js";
import { type BenchServer } from "./harness/types.js";

const WRITERS = 8;
const ROUNDS = 9;
const ROUND_MS = 700;
const COMMITS = 150;
const [ON, OFF] = ["notify: true", "notify: false"] as const;

await onEachServer(bench, { isDurable: true });

async function bench(server: BenchServer): Promise<void> {
  console.log(`\n${server.title}`);
  if (server.isPostgres) await measureSaves(server);
  await measureLatency(server);
}

function open(server: BenchServer, connections: number, options: Partial<OutboxOptions>) {
  const outbox = createOutbox({ knex: server.newKnex(connections), ...options });
  const ranAt = new Map<number, number>();
  const publish = outbox.saveToOutbox((n: number) => void ranAt.set(n, performance.now()), {
    name: "publish",
    stream: "orders",
    strategy: "keep-order",
  });
  return { outbox, publish, ranAt };
}

/** Transactions that each update a row of their own and save a call. */
async function measureSaves(server: BenchServer): Promise<void> {
  const db = server.newKnex(WRITERS);
  await db.schema.createTable("accounts", (table) => {
    table.integer("id").primary();
    table.integer("balance");
  });
  await db("accounts").insert(Array.from({ length: WRITERS }, (_, id) => ({ id, balance: 0 })));
  const variant = async (notify: boolean) => {
    const { outbox, publish } = open(server, WRITERS, { wakeUps: { notify }, writersLock: false });
    await outbox.migrate();
    return {
      close: outbox.close,
      async measure() {
        const began = performance.now();
        let count = 0;
        const write = async (id: number) => {
          for (; performance.now() - began < ROUND_MS; count++) {
            await outbox.transaction(async (trx) => {
              await trx("accounts").where({ id }).increment("balance");
              await publish(count);
            });
          }
        };
        await Promise.all(Array.from({ length: WRITERS }, (_, id) => write(id)));
        const perSecond = (count * 1000) / (performance.now() - began);
        await db("carteiro_calls").truncate();
        return perSecond;
      },
    };
  };
  const [off, on] = [await variant(false), await variant(true)];
  await compare(
    `one update and one saved call, ${WRITERS} writers, commits that wait for the disk`,
    "tx/s",
    [
      { name: OFF, measure: off.measure },
      { name: ON, measure: on.measure, against: OFF },
      { name: `${OFF}, again`, measure: off.measure, against: OFF },
    ],
    ROUNDS,
  );
  await Promise.all([off.close(), on.close()]);
}

/** From a commit to the run in an outbox of its own pool, one commit after the other on an idle system. */
async function measureLatency(server: BenchServer): Promise<void> {
  console.log(`\ncommit to run in another outbox, keep-order, ${COMMITS} commits`);
  for (const notify of server.isPostgres ? [true, false] : [true]) {
    const saving = open(server, 2, { wakeUps: { notify } });
    await saving.outbox.migrate();
    const relaying = open(server, 2, { wakeUps: { notify } });
    const relayer = relaying.outbox.startRelayer();
    await delay(500);
    const tookMs: number[] = [];
    for (let n = 0; n < COMMITS; n++) {
      await delay(5 + Math.random() * 50);
      await saving.outbox.transaction(() => saving.publish(n));
      const committedAt = performance.now();
      while (!relaying.ranAt.has(n)) await delay(1);
      tookMs.push(relaying.ranAt.get(n)! - committedAt);
    }
    await relayer.stop();
    await Promise.all([saving.outbox.close(), relaying.outbox.close()]);
    const sorted = tookMs.toSorted((a, b) => a - b);
    const at = (share: number) => `${sorted[Math.floor(share * COMMITS)]!.toFixed(1)} ms`;
    console.log(`  ${notify ? ON : OFF}: p50 ${at(0.5)}, p99 ${at(0.99)}`);
  }
}
