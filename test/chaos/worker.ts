/** A process of the application under chaos: it writes orders, or relays, until it is told to stop, or killed. */
import { setTimeout as delay } from "node:timers/promises";
import knex, { type Knex } from "knex";
import { createOutbox, currentCall } from "../../src/index.js";
import { seeded } from "../support/random.js";
import { type Kind, now, openJournal } from "./journal.js";

export interface WorkerTask {
  role: "writer" | "relayer";
  client: "pg" | "mysql2";
  url: string;
  seed: number;
  leaseMs: number;
  journal: string;
  /** Orders of one lane are published in order: `stream/key`. */
  lanes: string[];
}

const WRITES_AT_ONCE = 4;
const MOST_ORDERS = 5;

const task = JSON.parse(process.argv[2]!) as WorkerTask;
const random = seeded(task.seed);
const journal = openJournal(task.journal);
// Knex warns of connections that break; here they do so for a purpose.
const log = { warn() {}, error() {}, deprecate() {}, debug() {} };
const db = knex({
  ...{ client: task.client, connection: task.url, log, acquireConnectionTimeout: 5_000 },
  pool: { min: 0, max: 6 },
});
const outbox = createOutbox({
  knex: db,
  lease: task.leaseMs,
  pollInterval: 100,
  retry: { initialDelay: 20, maxDelay: 200 },
});
outbox.on("leaseLost", () => journal.write({ what: "lease lost" }));

let runs = 0;
async function deliver(kind: Kind, order: string): Promise<void> {
  const { fence, signal } = currentCall()!;
  const n = ++runs;
  journal.write({ what: "began", n, at: now(), order, kind, fence });
  await delay(random() * 8, undefined, { signal }).catch(() => undefined);
  const succeeded = !signal.aborted && random() >= 0.05;
  journal.write({ what: "ended", n, at: now(), succeeded });
  if (!succeeded) throw new Error(signal.aborted ? "told to stop" : "the receiver said no");
}

const publishers = new Map(
  [...new Set(task.lanes.map((lane) => lane.split("/")[0]!))].map((stream) => [
    stream,
    outbox.saveToOutbox((order: string, _key: string) => deliver("publish", order), {
      ...{ name: `publish-${stream}`, stream, strategy: "keep-order" },
      orderingKey: (_order, key) => key,
    }),
  ]),
);
// In a stream of keep-order calls.
const notify = outbox.saveToOutbox((order: string) => deliver("notify", order), { name: "notify", stream: "orders" });

class RolledBack extends Error {}

/** Orders of one lane, in one transaction. */
async function placeOrders(ids: readonly string[], lane: string): Promise<void> {
  const [stream, key] = lane.split("/") as [string, string];
  const publish = publishers.get(stream)!;
  const way = Math.floor(random() * 3);
  const isNotified = random() < 0.5;
  const work = async (trx: Knex.Transaction) => {
    for (const id of ids) {
      if (way === 0) await publish.in(trx)(id, key);
      if (way === 2) await publish(id, key);
      if (isNotified) await notify.in(trx)(id);
    }
    await trx("lanes").where({ lane }).increment("orders", ids.length);
    const row = await trx<{ lane: string; orders: number }>("lanes").where({ lane }).first("orders");
    const last = row!.orders - ids.length;
    await trx("orders").insert(
      ids.map((id, index) => ({ id, lane, place: last + index + 1, is_notified: isNotified })),
    );
    if (way === 1) for (const id of ids) await publish.in(trx)(id, key);
    await delay(random() * 5);
    if (random() < 0.15) throw new RolledBack();
  };
  await (way === 2 ? outbox.transaction(work) : db.transaction(work));
}

let orders = 0;
let isStopping = false;
async function write(): Promise<void> {
  while (!isStopping) {
    const lane = task.lanes[Math.floor(random() * task.lanes.length)]!;
    try {
      const ids = Array.from({ length: 1 + Math.floor(random() * MOST_ORDERS) }, () => `${task.seed}-${++orders}`);
      await placeOrders(ids, lane);
      journal.write({ what: "committed" });
      await delay(random() * 30);
    } catch (error) {
      journal.write({ what: error instanceof RolledBack ? "rolled back" : "unknown" });
      // The database may be away.
      await delay(random() * 100);
    }
  }
}

const working = task.role === "writer" ? Array.from({ length: WRITES_AT_ONCE }, () => write()) : [];
if (task.role === "relayer") outbox.startRelayer({ interval: 100 });

process.once("message", () => {
  isStopping = true;
  void Promise.all(working)
    .then(() => outbox.close())
    .then(() => db.destroy())
    .then(() => process.disconnect());
});
// A chaos run that is gone leaves no process behind.
process.once("disconnect", () => {
  if (!isStopping) process.exit(1);
});
process.send!("ready");
