import type { Knex } from "knex";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { createOutbox, type Outbox, type OutboxOptions, type SavedFunction } from "../../src/index.js";
import type { Engine, TestDatabase } from "../support/databases.js";

/** Every way in which a call is saved and run. */
export type Kind = "publish-on-commit" | "keep-order" | "on-failure";
export const kinds: Kind[] = ["publish-on-commit", "keep-order", "on-failure"];

export type Work = (trx: Knex.Transaction) => unknown;

/** How an application begins transactions and savepoints, and calls its functions in them. */
export interface Way {
  name: string;
  begin(books: Books, work: Work, config?: Knex.TransactionConfig): Promise<unknown>;
  nest(books: Books, trx: Knex.Transaction, work: Work, config?: Knex.TransactionConfig): Promise<unknown>;
  call(send: SavedFunction<[n: number], unknown>, trx: Knex.Transaction, n: number): Promise<unknown>;
}

const byOutbox: Pick<Way, "begin"> = { begin: ({ outbox }, work, config) => outbox.transaction(work, config) };
const bySavepoints: Pick<Way, "nest"> = {
  nest: async (_, trx, work, config) => trx.transaction<unknown>(async (inner) => work(inner), config),
};
const ambiently: Pick<Way, "call"> = { call: (send, _, n) => send(n) };
const explicitly: Pick<Way, "call"> = { call: (send, trx, n) => send.in(trx)(n) };

/** Works in a transaction that has no work of its own, and ends it by hand. */
async function byHand(trx: Knex.Transaction, work: Work): Promise<void> {
  try {
    await work(trx);
    await trx.commit();
  } catch (error) {
    await trx.rollback(error);
  }
  await trx.executionPromise;
}

const nestByHand: Pick<Way, "nest"> = {
  nest: async (_, trx, work, config) => byHand(await trx.transaction(undefined, config), work),
};

export const ambient: Way = {
  name: "outbox.transaction",
  ...byOutbox,
  nest: ({ outbox }, _, work, config) => outbox.transaction(work, config),
  ...ambiently,
};
export const explicit: Way = {
  name: "db.transaction and .in(trx)",
  begin: async ({ db }, work, config) => db.transaction<unknown>(async (trx) => work(trx), config),
  ...bySavepoints,
  ...explicitly,
};
/** Its calls wait for the COMMIT; those of the other ways are written as they are made. */
export const isAmbient = ({ begin }: Way): boolean => begin === ambient.begin;

/** Every way, those that mix the two included. */
export const ways: Way[] = [
  ambient,
  explicit,
  { ...ambient, name: "outbox.transaction and .in(trx)", ...explicitly },
  { ...ambient, name: "outbox.transaction with knex's savepoints", ...bySavepoints },
  { ...ambient, name: "outbox.transaction with knex's savepoints and .in(trx)", ...bySavepoints, ...explicitly },
  { ...ambient, name: "outbox.transaction with knex's savepoints by hand and .in(trx)", ...nestByHand, ...explicitly },
  {
    ...explicit,
    name: "db.transaction() by hand and .in(trx)",
    begin: async ({ db }, work, config) => byHand(await db.transaction(undefined, config), work),
    ...nestByHand,
  },
  {
    ...explicit,
    name: "db.transactionProvider() and .in(trx)",
    begin: async ({ db }, work, config) => byHand(await db.transactionProvider(config)(), work),
    nest: async (_, trx, work, config) => byHand(await trx.transactionProvider(config)(), work),
  },
];

/** A `Books` on a database of its own for the tests of a suite; each test finds it empty. */
export function useBooks(engine: Engine): { readonly books: Books; readonly database: TestDatabase } {
  const context = {} as { books: Books; database: TestDatabase };
  beforeAll(async () => {
    context.database = await engine.create();
    context.books = new Books(context.database.knex);
    await context.books.open();
  });
  beforeEach(() => context.books.clear());
  afterAll(async () => {
    await context.books.outbox.close();
    await context.database.close();
  });
  return context;
}

/** A table of business rows, and the calls that were made beside them: either both are there or none. */
export class Books {
  readonly db: Knex;
  readonly outbox: Outbox;
  readonly #send: Record<Kind, SavedFunction<[n: number], unknown>>;
  /** By kind: what ran. A call that ran twice is in it twice. */
  readonly #ran: Record<Kind, number[]> = { "publish-on-commit": [], "keep-order": [], "on-failure": [] };

  constructor(db: Knex, options: Partial<OutboxOptions> = {}) {
    this.db = db;
    this.outbox = createOutbox({ knex: db, retry: { initialDelay: 1, jitter: 0 }, ...options });
    const wrap = (kind: Kind) =>
      this.outbox.saveToOutbox(async (n: number) => void this.#ran[kind].push(n), {
        name: `send ${kind}`,
        stream: kind,
        ...(kind === "on-failure" ? { persist: kind } : { strategy: kind }),
      });
    this.#send = {
      "publish-on-commit": wrap("publish-on-commit"),
      "keep-order": wrap("keep-order"),
      "on-failure": wrap("on-failure"),
    };
  }

  async open(): Promise<void> {
    await this.outbox.migrate();
    await this.db.schema.createTable("entries", (table) => void table.integer("n").primary());
  }

  /** A row, and a call of each kind beside it. */
  async enter(way: Way, trx: Knex.Transaction, n: number, called = kinds): Promise<void> {
    await trx("entries").insert({ n });
    await this.call(way, trx, n, called);
  }

  async call(way: Way, trx: Knex.Transaction, n: number, called = kinds): Promise<void> {
    await Promise.all(called.map((kind) => way.call(this.#send[kind], trx, n)));
  }

  /**
   * These rows are there, and of each kind these calls ran, once each; nothing else is there, ran, or is left.
   *
   * @param ran where a kind differs from the rows
   */
  async expectEntries(rows: readonly number[], ran: Partial<Record<Kind, readonly number[]>> = {}): Promise<void> {
    await this.outbox.idle();
    await this.outbox.relay();
    const left = await this.outbox.calls.list();
    const expected = Object.fromEntries(kinds.map((kind) => [kind, ran[kind] ?? rows]));
    expect({ rows: await this.rows(), ...this.ran(), left }).toEqual({ rows, ...expected, left: [] });
  }

  /** By kind: what ran so far, without a relay. */
  ran(): Record<Kind, number[]> {
    const sorted = kinds.map((kind) => [kind, this.#ran[kind].toSorted((a, b) => a - b)] as const);
    return Object.fromEntries(sorted) as Record<Kind, number[]>;
  }

  rows(): Promise<number[]> {
    return this.db("entries").orderBy("n").pluck("n");
  }

  async clear(): Promise<void> {
    for (const kind of kinds) this.#ran[kind].length = 0;
    await this.db("entries").del();
  }
}
