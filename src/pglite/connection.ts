import { EventEmitter } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { PGlite, messages } from "@electric-sql/pglite";
import { toWireValue } from "./parameters.js";
import { readResults, transactionStatus, type ReadOptions, type StatementResult } from "./results.js";
import { extendedQuery, maxParameters, simpleQuery } from "./wire.js";

/** What a connection is made from. */
export interface PGliteConnectionSettings {
  pglite: PGlite;
  /** How long a statement waits for a transaction that was begun elsewhere on the same PGlite. */
  waitMs: number;
}

/** A statement as node-postgres takes it. */
export interface Statement extends ReadOptions {
  text: string;
  values?: readonly unknown[];
}

/** One statement's result, or one for each of several statements sent at once. */
export type QueryResult = StatementResult | StatementResult[];

type Callback = (error: unknown, result?: QueryResult) => void;

/**
 * PGlite's one session behind the part of node-postgres's `Client` that knex and a pool's `afterCreate` use.
 *
 * Statements queue. From a BEGIN until the end of its transaction the connection keeps PGlite's own transaction lock,
 * so that neither `pglite.query()` nor another connection gets a statement into it.
 */
export class PGliteConnection extends EventEmitter {
  readonly #pglite: PGlite;
  readonly #waitMs: number;
  #queue: Promise<unknown> = Promise.resolve();
  #unlock: (() => void) | undefined;
  #isEnded = false;

  constructor({ pglite, waitMs }: PGliteConnectionSettings) {
    super();
    this.#pglite = pglite;
    this.#waitMs = waitMs;
  }

  /** @throws Error where PGlite is closed or did not start */
  async connect(): Promise<void> {
    this.#refuseClosed();
    try {
      await this.#pglite.waitReady;
    } catch (cause) {
      throw new Error("This PGlite failed to start; create another one.", { cause });
    }
  }

  query(statement: string | Statement, values?: readonly unknown[]): Promise<QueryResult>;
  query(statement: string | Statement, callback: Callback): void;
  query(statement: string | Statement, values: readonly unknown[] | undefined, callback: Callback): void;
  query(
    statement: string | Statement,
    valuesOrCallback?: readonly unknown[] | Callback,
    callback?: Callback,
  ): Promise<QueryResult> | undefined {
    const [values, done] =
      typeof valuesOrCallback === "function" ? [undefined, valuesOrCallback] : [valuesOrCallback, callback];
    const asked: Statement = typeof statement === "string" ? { text: statement } : statement;
    const result = this.#enqueue(() => this.#run({ ...asked, values: values ?? asked.values }));
    if (done === undefined) return result;
    result.then((answer) => done(null, answer), done);
    return undefined;
  }

  /** Rolls back what is open and takes no more statements. The PGlite stays open: it is its owner's to close. */
  end(callback?: (error?: unknown) => void): Promise<void> | undefined {
    const ended = this.#enqueue(async () => {
      if (this.#isEnded) return;
      try {
        if (this.#unlock !== undefined) await this.#run({ text: "ROLLBACK" });
      } finally {
        this.#isEnded = true;
        this.#unlockSession();
        this.emit("end");
      }
    });
    if (callback === undefined) return ended;
    ended.then(() => callback(), callback);
    return undefined;
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #run({ text, values = [], ...options }: Statement): Promise<QueryResult> {
    if (this.#isEnded) throw new Error("This connection to PGlite has ended and takes no more statements.");
    const request = encode(text, values);
    await this.#lockSession();
    let batch: messages.BackendMessage[];
    try {
      batch = await this.#pglite.runExclusive(() => this.#exchange(request));
      // PGlite answers without I/O: statements awaited one after another would keep timers and signals waiting for ever.
      await nextTurn();
    } catch (error) {
      this.#unlockSession();
      this.emit("error", error);
      throw error;
    }
    if (transactionStatus(batch) === "I") this.#unlockSession();
    return readResults(batch, options);
  }

  async #exchange(request: Uint8Array): Promise<messages.BackendMessage[]> {
    this.#refuseClosed();
    let batch: messages.BackendMessage[];
    try {
      ({ messages: batch } = await this.#pglite.execProtocol(request, { throwOnError: false, syncToFs: false }));
    } catch (cause) {
      throw new Error("PGlite stopped while it ran a statement; close it and create another one.", { cause });
    }
    const status = transactionStatus(batch);
    if (status === undefined) throw new Error("PGlite did not finish a statement; close it and create another one.");
    if (status === "I") await this.#pglite.syncToFs();
    return batch;
  }

  #lockSession(): Promise<void> {
    if (this.#unlock !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      let isWaiting = true;
      const timer = setTimeout(() => {
        isWaiting = false;
        reject(
          new Error(
            `PGlite was busy for ${this.#waitMs} ms with a transaction begun outside this knex instance ` +
              "(pglite.transaction(), or another knex instance). It has one session: end that transaction first.",
          ),
        );
      }, this.#waitMs);
      const held = this.#pglite._runExclusiveTransaction(() => {
        clearTimeout(timer);
        if (!isWaiting) return Promise.resolve();
        return new Promise<void>((unlock) => {
          this.#unlock = unlock;
          resolve();
        });
      });
      held.catch(reject);
    });
  }

  #unlockSession(): void {
    this.#unlock?.();
    this.#unlock = undefined;
  }

  #refuseClosed(): void {
    if (this.#pglite.closed) throw new Error("This PGlite is closed; create another one, and a knex instance on it.");
  }
}

function encode(text: string, values: readonly unknown[]): Uint8Array {
  if (values.length === 0) return simpleQuery(text);
  if (values.length > maxParameters) {
    throw new RangeError(
      `A statement has ${values.length} bindings, and PostgreSQL takes at most ${maxParameters}; split it.`,
    );
  }
  return extendedQuery(text, values.map(toWireValue));
}
