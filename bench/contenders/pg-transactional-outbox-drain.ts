import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { loadPeer } from "../harness/peers.js";
import type { Contender, Ground } from "../harness/types.js";
import { order } from "./support/carteiro-calls.js";

interface TransactionalOutbox {
  DatabaseSetup: Record<
    "dropAndCreateTable" | "createPollingFunction" | "setupPollingIndexes",
    (options: Record<string, string>) => string
  >;
  initializePollingMessageListener(
    config: Record<string, unknown>,
    handler: { handle(message: unknown): Promise<void> },
    logger: unknown,
    strategies: Record<string, unknown>,
  ): [shutdown: () => Promise<void>];
  getDisabledLogger(): unknown;
}

const BATCH = 100;

/** Its polling listener, with nothing between the batches; every message may be handled beside the others. */
export async function open({ url, calls }: Ground): Promise<Contender> {
  const peer = (await loadPeer("pg-transactional-outbox")) as TransactionalOutbox;
  const client = new pg.Client(url);
  await client.connect();
  const setup = {
    outboxOrInbox: "outbox",
    database: client.database ?? "",
    schema: "public",
    table: "outbox",
    listenerRole: "postgres",
    nextMessagesName: "next_messages",
  };
  const { dropAndCreateTable, createPollingFunction, setupPollingIndexes } = peer.DatabaseSetup;
  for (const create of [dropAndCreateTable, createPollingFunction, setupPollingIndexes]) {
    await client.query(create(setup));
  }
  const config = {
    outboxOrInbox: "outbox",
    dbListenerConfig: { connectionString: url, max: 24 },
    settings: {
      dbSchema: "public",
      dbTable: "outbox",
      nextMessagesFunctionName: "next_messages",
      nextMessagesBatchSize: BATCH,
      nextMessagesPollingIntervalInMs: 5,
      // A message that its own poll met locked waits for the end of this: no longer than its handling takes.
      nextMessagesLockInMs: 500,
      enableMaxAttemptsProtection: false,
      enablePoisonousMessageProtection: false,
    },
  };
  return {
    async prepare() {
      await client.query("truncate outbox");
      await client.query(
        `insert into outbox (id, aggregate_type, aggregate_id, message_type, concurrency, payload)
         select gen_random_uuid(), 'order', '4711', 'publish', 'parallel', $1 from generate_series(1, ${calls})`,
        [JSON.stringify(order)],
      );
      await client.query("vacuum analyze outbox");
    },
    async measure() {
      let ran = 0;
      let onAll = () => {};
      const all = new Promise<void>((resolve) => (onAll = resolve));
      const handle = async () => {
        if (++ran === calls) onAll();
      };
      const began = performance.now();
      // Its own strategy begins with single messages.
      const strategies = { batchSizeStrategy: () => Promise.resolve(BATCH) };
      const [shutdown] = peer.initializePollingMessageListener(
        config,
        { handle },
        peer.getDisabledLogger(),
        strategies,
      );
      await all;
      const left = "select 1 from outbox where processed_at is null limit 1";
      while ((await client.query(left)).rowCount !== 0) await delay(1);
      const tookMs = performance.now() - began;
      await shutdown();
      return { rate: (calls * 1000) / tookMs };
    },
    close: () => client.end(),
  };
}
