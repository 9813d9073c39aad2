import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createOutbox, type Outbox } from "../../src/index.js";
import { engines, type TestDatabase } from "../support/databases.js";
import { checkHistory, type Run } from "./history.js";

const WRITERS = 8;
const TRANSACTIONS_PER_WRITER = 40;
const KEYS = ["a", "b", "c", "d", "e"];
const RELAYS = 3;

/** A small generator, so that a failing run can be repeated by its seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("the history checker", () => {
  const run = (place: number, startedAt: number, endedAt: number, succeeded = true): Run => ({
    key: "k",
    place,
    startedAt,
    endedAt,
    succeeded,
  });

  it.each([
    ["nothing", [run(1, 0, 1), run(2, 1, 2, false), run(2, 2, 3), run(3, 3, 4)], {}],
    [
      "an inversion",
      [run(2, 0, 1, false), run(1, 1, 2), run(2, 2, 3), run(3, 3, 4)],
      { inversions: ["k/2 before k/1"] },
    ],
    ["an overlap", [run(1, 0, 3), run(2, 2, 4), run(3, 4, 5)], { overlaps: ["k/2"] }],
    ["a lost call", [run(1, 0, 1), run(2, 1, 2)], { lost: ["k/3"] }],
    ["a phantom", [run(1, 0, 1), run(2, 1, 2), run(3, 2, 3), run(4, 3, 4)], { phantoms: ["k/4"] }],
    ["a repeat", [run(1, 0, 1), run(1, 1, 2), run(2, 2, 3), run(3, 3, 4)], { repeats: ["k/1"] }],
  ])("finds %s", (_name, runs, faults) => {
    const none = { inversions: [], overlaps: [], lost: [], phantoms: [], repeats: [] };
    expect(checkHistory(runs, new Map([["k", 3]]))).toEqual({ ...none, ...faults });
  });
});

describe.each(engines.filter((engine) => engine.name !== "pglite" && engine.skipReason === undefined))(
  "keep-order is commit order [$name]",
  (engine) => {
    let database: TestDatabase;
    let application: Knex;
    const outboxes: Outbox[] = [];

    beforeAll(async () => {
      database = await engine.create();
      application = database.knex;
      for (let n = 0; n < RELAYS; n++) {
        const knex = n === 0 ? application : (database.newKnex as NonNullable<typeof database.newKnex>)();
        outboxes.push(createOutbox({ knex, retry: { initialDelay: 5, maxDelay: 20 }, pollInterval: 20 }));
      }
      await outboxes[0]?.migrate();
      await application.schema.createTable("customers", (table) => {
        table.string("name").primary();
        table.integer("orders").notNullable();
      });
      await application.schema.createTable("orders", (table) => {
        table.string("id").primary();
        table.string("customer").notNullable();
        table.integer("place").notNullable();
      });
      await application("customers").insert(KEYS.map((name) => ({ name, orders: 0 })));
    });

    afterAll(async () => {
      await Promise.all(outboxes.map((outbox) => outbox.close()));
      await database.close();
    });

    it(
      `holds with ${WRITERS} writers, rollbacks, failing runs and ${RELAYS} relays`,
      { timeout: 120_000 },
      async () => {
        const seed = Date.now() % 1_000_000;
        const random = seeded(seed);
        const runs: (Omit<Run, "place"> & { order: string })[] = [];
        const publishers = outboxes.map((outbox) =>
          outbox.saveToOutbox(
            async (order: string, customer: string) => {
              const startedAt = performance.now();
              await delay(random() * 2);
              const succeeded = random() >= 0.05;
              runs.push({ order, key: customer, startedAt, endedAt: performance.now(), succeeded });
              if (!succeeded) throw new Error("the broker said no");
            },
            { name: "publish", stream: "orders", strategy: "keep-order", orderingKey: (_order, customer) => customer },
          ),
        );
        const publish = publishers[0] as (typeof publishers)[0];
        const ambient = outboxes[0] as Outbox;

        const placeOrder = async (trx: Knex.Transaction, order: string, customer: string, way: number) => {
          if (way === 0) await publish.in(trx)(order, customer);
          await trx("customers").where({ name: customer }).increment("orders", 1);
          const row = await trx<{ name: string; orders: number }>("customers")
            .where({ name: customer })
            .first("orders");
          await trx("orders").insert({ id: order, customer, place: row?.orders });
          if (way === 1) await publish.in(trx)(order, customer);
          await delay(random() * 3);
          if (random() < 0.15) throw new Error("rolled back");
        };
        const write = async (writer: number) => {
          for (let n = 0; n < TRANSACTIONS_PER_WRITER; n++) {
            const customer = KEYS[Math.floor(random() * KEYS.length)] as string;
            const order = `${writer}-${n}`;
            const way = Math.floor(random() * 3);
            const work = (trx: Knex.Transaction) => placeOrder(trx, order, customer, way);
            const ended =
              way === 2
                ? ambient.transaction(async (trx) => {
                    await publish(order, customer);
                    await work(trx);
                  })
                : application.transaction(work);
            // A deadlock's victim rolled back too.
            await ended.catch(() => undefined);
          }
        };

        const relayers = outboxes.map((outbox) => outbox.startRelayer({ stream: "orders" }));
        await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
        const rows = await application<{ id: string; customer: string; place: number }>("orders");
        const places = new Map(rows.map((row) => [row.id, row.place]));
        while ((await ambient.calls.list({ limit: 1 })).length > 0) await delay(20);
        await Promise.all(relayers.map((relayer) => relayer.stop()));

        const committed = new Map<string, number>();
        for (const { customer } of rows) committed.set(customer, (committed.get(customer) ?? 0) + 1);
        const history = runs.map(({ order, ...run }) => ({ ...run, place: places.get(order) ?? Infinity }));
        const none = { inversions: [], overlaps: [], lost: [], phantoms: [], repeats: [] };
        expect(checkHistory(history, committed), `seed ${seed}`).toEqual(none);
        expect(rows.length).toBeGreaterThan(WRITERS * TRANSACTIONS_PER_WRITER * 0.4);
        expect(runs.some((run) => !run.succeeded)).toBe(true);
      },
    );
  },
);
