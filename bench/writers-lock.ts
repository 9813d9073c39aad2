/** What commit order costs those who write: `npm run bench:writers-lock`. */
import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { createOutbox } from "../src/index.js";
import { compare, type Variant } from "./harness/rounds.js";
import { onEachServer } from "./harness/servers.js";
import { type BenchServer } from "./harness/types.js";

const WRITERS = 8;
const ROUNDS = 7;
const ROUND_MS = 700;
const WORK_MS = 20;
const MANY_KEYS = 10_000;

interface Situation {
  name: string;
  keyOf(writer: number, n: number): string | undefined;
}

const situations: Situation[] = [
  { name: `${MANY_KEYS} keys`, keyOf: (writer, n) => `customer ${(n * WRITERS + writer) % MANY_KEYS}` },
  { name: "one key", keyOf: () => "customer" },
  { name: "no key", keyOf: () => undefined },
];

await onEachServer(bench, { isDurable: true });

async function bench(server: BenchServer): Promise<void> {
  const db = server.newKnex(WRITERS);
  await db.schema.createTable("orders", (table) => {
    table.increments();
    table.string("customer");
  });
  const open = async (writersLock: boolean) => {
    const outbox = createOutbox({ knex: db, writersLock });
    await outbox.migrate();
    const publish = outbox.saveToOutbox((_key?: string) => undefined, {
      name: "publish",
      stream: "orders",
      strategy: "keep-order",
    });
    const save = (key?: string) => (key === undefined ? publish : publish.with({ orderingKey: key }))(key);
    const saveIn = (trx: Knex.Transaction) => publish.in(trx)();
    return { outbox, save, saveIn };
  };
  const [locked, unlocked] = [await open(true), await open(false)];

  /** Transactions that each insert an order and save a call, by all writers, for a round. @returns how many a second */
  const rate = async (transact: (writer: number, n: number) => Promise<unknown>) => {
    const began = performance.now();
    let count = 0;
    const write = async (writer: number) => {
      for (let n = 0; performance.now() - began < ROUND_MS; n++, count++) await transact(writer, n);
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
    const perSecond = (count * 1000) / (performance.now() - began);
    for (const table of ["orders", "carteiro_calls"]) await db(table).truncate();
    return perSecond;
  };
  const order = (trx: Knex.Transaction) => trx("orders").insert({ customer: "ana" });

  console.log(`\n${server.title}, ${WRITERS} writers, commits that wait for the disk`);
  for (const { name, keyOf } of situations) {
    const variant = ({ outbox, save }: typeof locked) =>
      rate((writer, n) =>
        outbox.transaction(async (trx) => {
          await order(trx);
          await save(keyOf(writer, n));
        }),
      );
    const variants: Variant[] = [
      { name: "writersLock: false", measure: () => variant(unlocked) },
      { name: "writersLock: true", measure: () => variant(locked), against: "writersLock: false" },
    ];
    await compare(`outbox.transaction, ${name}`, "tx/s", variants, ROUNDS);
  }

  const takenLast = ({ outbox, save }: typeof locked) =>
    rate(() =>
      outbox.transaction(async (trx) => {
        await save();
        await order(trx);
        await delay(WORK_MS);
      }),
    );
  const takenAtTheCall = ({ saveIn }: typeof locked) =>
    rate(() =>
      db.transaction(async (trx) => {
        await saveIn(trx);
        await order(trx);
        await delay(WORK_MS);
      }),
    );
  const last = "taken last, by outbox.transaction";
  await compare(
    `no key, ${WORK_MS} ms of work after the save, the lock`,
    "tx/s",
    [
      { name: "not taken, writersLock: false", measure: () => takenLast(unlocked) },
      { name: last, measure: () => takenLast(locked), against: "not taken, writersLock: false" },
      { name: "taken at the call, by .in(trx)", measure: () => takenAtTheCall(locked), against: last },
    ],
    ROUNDS,
  );
  for (const { outbox } of [locked, unlocked]) await outbox.close();
}
