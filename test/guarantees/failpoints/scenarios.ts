import type { Knex } from "knex";
import type { Outbox } from "../../../src/index.js";
import { FAILS_FIRST, type Functions, type Order, ordersOf } from "./application.js";

/** What a process does until it is killed, on tables of its own. */
export interface Stage {
  knex: Knex;
  outbox: Outbox;
  tablePrefix: string;
  functions: Functions;
}

export interface Scenario {
  /** What other processes did before. */
  prepare?: (stage: Stage) => Promise<void>;
  act: (stage: Stage) => Promise<unknown>;
  /** A run ends only when so many have begun, so that their outcomes are settled together. */
  together?: number;
  /** A lease that ends by itself, and in it a run that takes so much of it that it is renewed. (Default: one that is ended by hand) */
  lease?: { ms: number; runMs: number };
  /** There are no tables yet. */
  isUnmigrated?: boolean;
}

export type ScenarioName = "save" | "relay" | "renew" | "clean" | "migrate";

const order = (key: string, place: number, end = ""): Order => ({ id: `${key}${place}${end}`, key, place });

export const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  save: { act: saveInEveryWay },
  relay: {
    together: 4,
    async prepare(stage) {
      await leave(stage, [order("a", 1), order("b", 1, FAILS_FIRST)]);
      await leave(stage, [order("c", 1)], "deliverAndKeep");
      await leave(stage, [order("d", 1), order("a", 2)]);
      await leave(stage, [order("b", 2)], "deliverAndKeep");
    },
    act: ({ outbox }) => outbox.relay(),
  },
  renew: {
    lease: { ms: 1500, runMs: 1200 },
    prepare: (stage) => leave(stage, [order("a", 1), order("b", 1)]),
    act: ({ outbox }) => outbox.relay(),
  },
  clean: {
    async prepare(stage) {
      const sent = [1, 2, 3, 4, 5].map((place) => order("a", place));
      await leave(stage, sent, "deliverAndKeep");
      for (let published = 0; published < sent.length;) published += (await stage.outbox.relay()).published;
      await leave(stage, [order("a", 6)]);
    },
    act: ({ outbox }) => outbox.clean({ olderThan: 0, batchSize: 2 }),
  },
  migrate: {
    isUnmigrated: true,
    act: ({ outbox }) => outbox.migrate(),
  },
};

/** Commits orders with calls that this process does not run: it is not told of those that have a delay. */
async function leave(
  { outbox, tablePrefix, functions }: Stage,
  orders: readonly Order[],
  by: keyof Functions = "deliver",
): Promise<void> {
  for (const one of orders) {
    await outbox.transaction(async (trx) => {
      await ordersOf(trx, tablePrefix).insert(one);
      await functions[by].with({ delay: 1 })(one.id, one.key);
    });
  }
}

async function saveInEveryWay({ knex, outbox, tablePrefix, functions }: Stage): Promise<void> {
  const { deliver, deliverAndKeep } = functions;
  const insert = (trx: Knex.Transaction, one: Order) => ordersOf(trx, tablePrefix).insert(one);

  await outbox.transaction(async (trx) => {
    for (const one of [order("a", 1), order("b", 1), order("a", 2)]) {
      await insert(trx, one);
      await deliver(one.id, one.key);
    }
  });
  await knex.transaction(async (trx) => {
    await deliverAndKeep.in(trx)("a3", "a");
    await insert(trx, order("a", 3));
  });
  await rolledBack(
    knex.transaction(async (trx) => {
      await insert(trx, order("a", 4, " rolled back"));
      await deliver.in(trx)("a4 rolled back", "a");
      throw new RolledBack();
    }),
  );
  await outbox.transaction(async (trx) => {
    await insert(trx, order("a", 4));
    await deliver("a4", "a");
    await rolledBack(
      outbox.transaction(async (savepoint) => {
        await insert(savepoint, order("b", 2, " rolled back"));
        await deliver("b2 rolled back", "b");
        throw new RolledBack();
      }),
    );
  });
  await outbox.relay();
}

class RolledBack extends Error {}

async function rolledBack(transaction: Promise<unknown>): Promise<void> {
  await transaction.catch((error: unknown) => {
    if (!(error instanceof RolledBack)) throw error;
  });
}
