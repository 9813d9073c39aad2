import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { expect } from "vitest";
import { createOutbox, type Outbox, type OutboxOptions, type SavedFunction } from "../../src/index.js";
import { until } from "../support/waiting.js";

const WRITERS = 4;
const RELAYERS = 2;
const INTERVAL_MS = 20;
/** A server that restarts, or recovers, takes its time. */
const LONG_MS = 45_000;

/** An application that writes orders and calls in one transaction each, over and over, with relayers beside it. */
export class Shop {
  readonly outbox: Outbox;
  /** What transactions were refused with, those that were meant to fail left out. */
  readonly refusals: Error[] = [];
  /** What relayers told by `onError`. */
  readonly relayerErrors: Error[] = [];
  readonly log: string[] = [];
  committed = 0;
  readonly callsTable: string;
  readonly #knex: Knex;
  readonly #ran: Record<"send" | "publish", number[]> = { send: [], publish: [] };
  readonly #send: SavedFunction<[id: number], Promise<void>>;
  readonly #publish: SavedFunction<[key: string, id: number], Promise<void>>;
  readonly #writing: Promise<void>[] = [];
  #isWriting = true;

  /** @param knex the application's own; destroyed with the shop */
  constructor(knex: Knex, options: Partial<OutboxOptions> = {}) {
    this.#knex = knex;
    this.callsTable = `${options.tablePrefix ?? "carteiro_"}calls`;
    const line = (_fields: object, message: string) => void this.log.push(message);
    const logger = { debug: line, info() {}, warn: line, error: line };
    this.outbox = createOutbox({
      knex,
      logger,
      lease: 2000,
      statementTimeout: "10s",
      pollInterval: 20,
      retry: { initialDelay: 10, maxDelay: 100 },
      ...options,
    });
    this.#send = this.outbox.saveToOutbox(async (id: number) => this.#run("send", id), { name: "send" });
    this.#publish = this.outbox.saveToOutbox(async (_key: string, id: number) => this.#run("publish", id), {
      name: "publish",
      stream: "orders",
      strategy: "keep-order",
      orderingKey: (key) => key,
    });
  }

  /** Every now and then a run fails, too. */
  #run(name: "send" | "publish", id: number): void {
    const ran = this.#ran[name];
    if (id % 20 === 0 && !ran.includes(-id)) {
      ran.push(-id);
      throw new Error("down");
    }
    ran.push(id);
  }

  async open(): Promise<void> {
    await this.outbox.migrate();
    await this.#knex.schema.createTable("orders", (table) => void table.integer("id").primary());
  }

  startRelayers(): void {
    for (let relayers = 0; relayers < RELAYERS; relayers++) {
      this.outbox.startRelayer({
        interval: INTERVAL_MS,
        onError: (error) => void this.relayerErrors.push(error as Error),
      });
    }
  }

  /** Stores an order with its calls, or neither. */
  async order(key: string, id: number, work: () => void = () => {}) {
    await this.outbox.transaction(async (trx) => {
      await trx("orders").insert({ id });
      await this.#send(id);
      await this.#publish(key, id);
      work();
    });
  }

  /** The same in a transaction that is passed on: the calls are written before `last`, which is followed by the COMMIT. */
  async explicitOrder(key: string, id: number, last: (trx: Knex.Transaction) => Promise<void>) {
    await this.#knex.transaction(async (trx) => {
      await trx("orders").insert({ id });
      await this.#send.in(trx)(id);
      await this.#publish.in(trx)(key, id);
      await last(trx);
    });
  }

  startWriting(): void {
    for (let writer = 1; writer <= WRITERS; writer++) this.#writing.push(this.#write(writer));
  }

  async #write(writer: number): Promise<void> {
    const changedMind = new Error("rolled back on purpose");
    for (let n = 1; this.#isWriting; n++) {
      try {
        await this.order(`key ${writer}`, writer * 1_000_000 + n, () => {
          if (n % 7 === 0) throw changedMind;
        });
        this.committed += 1;
      } catch (error) {
        if (error !== changedMind) this.refusals.push(error as Error);
      }
      // Leaves the processor to the servers.
      await delay(3);
    }
  }

  /** Resolves when so many more transactions have committed. */
  async commits(more: number): Promise<void> {
    const goal = this.committed + more;
    await until(`${more} more transactions committed`, () => this.committed >= goal, LONG_MS);
  }

  async stopWriting(): Promise<void> {
    this.#isWriting = false;
    await Promise.all(this.#writing);
  }

  /** Waits until nothing is left to run, and holds what ran against the orders that are stored. */
  async expectAllRan(): Promise<void> {
    const isEmpty = () =>
      this.outbox.calls.list({ limit: 1 }).then(
        (calls) => calls.length === 0,
        () => false,
      );
    await until("no call is left", isEmpty, LONG_MS);
    const rows = await this.#knex<{ id: number }>("orders").select("id").orderBy("id");
    const stored = rows.map(({ id }) => id);
    for (const name of ["send", "publish"] as const) {
      const firsts = [...new Set(this.#ran[name].filter((id) => id > 0))];
      if (name === "publish") {
        for (let writer = 1; writer <= WRITERS; writer++) {
          const ofKey = firsts.filter((id) => Math.floor(id / 1_000_000) === writer);
          expect(ofKey).toEqual([...ofKey].sort((one, other) => one - other));
        }
      }
      expect(firsts.sort((one, other) => one - other)).toEqual(stored);
    }
  }

  /**
   * Relayers wait twice as long after each failure of one kind: none of them has waited for the same time twice.
   *
   * @param from the length of the log when the database failed
   */
  expectEverLonger(from: number): void {
    const told = new Map<string, number>();
    for (const line of this.log.slice(from)) {
      const pauseMs = Number(/^a relayer .* again in (\d+) ms$/.exec(line)?.[1]);
      if (Number.isNaN(pauseMs)) continue;
      expect(pauseMs).toBeGreaterThan(INTERVAL_MS);
      told.set(line, (told.get(line) ?? 0) + 1);
    }
    expect(told.size).toBeGreaterThan(0);
    expect(Math.max(...told.values())).toBeLessThanOrEqual(RELAYERS);
  }

  async close(): Promise<void> {
    await this.stopWriting();
    await this.outbox.close();
    await this.#knex.destroy();
  }
}
