import type { Knex } from "knex";
import type { Strategy } from "./call.js";
import type { Logger } from "./logger.js";
import type { Codec, Duration, Persist, Retry, SigningOptions } from "./settings.js";

/** What wakes a relayer before its next poll. */
export interface WakeUps {
  /** A commit of this process. (Default: `true`) */
  local?: boolean;
  /**
   * A commit of another process that has this on as well: by PostgreSQL's NOTIFY, which is sent after the commit on a connection
   * of the outbox's own. While a relayer runs, the process listens on one connection more. Behind PgBouncer in transaction mode
   * nothing arrives: the relayer finds that out, says so to the log, and polls. Where there is nothing to listen to (MySQL,
   * MariaDB, `ownConnections: 0`, or such a pooler), a relayer that has found something looks again after a twentieth of its
   * interval, and then ever later up to the interval. (Default: `true`)
   */
  notify?: boolean;
}

/** What `createOutbox` takes. */
export interface OutboxOptions {
  /** A knex instance of client `pg`, `mysql2` or `carteiro/pglite`. The outbox never closes it. */
  knex: Knex;
  /**
   * The schema (PostgreSQL) or database (MySQL) of the tables: letters, digits and underscores, at most 48. (Default: the
   * connection's own)
   */
  schema?: string;
  /** What the tables' names begin with: letters, digits and underscores, at most 48. (Default: `carteiro_`) */
  tablePrefix?: string;
  /** For functions that name none. (Default: `publish-on-commit`) */
  strategy?: Strategy;
  /**
   * For functions that name none. `on-failure` stores nothing unless the run after the commit failed, or found no free slot:
   * a crash before the run has ended loses the call. For publish-on-commit within `outbox.transaction`, or outside any
   * transaction where `requireTransaction` is `false`: there the call runs at once. In other transactions, and with a delay
   * or `runAt`, calls are stored all the same. Keep-order functions always store. (Default: `always`)
   */
  persist?: Persist;
  /** `false` keeps calls that succeeded, as sent, until the cleaner takes them. (Default: `true`) */
  deleteAfterSend?: boolean;
  /** How long the cleaner leaves sent calls, counted from their success. (Default: 7 days) */
  retention?: Duration;
  /**
   * `false`: a call made outside `outbox.transaction` is saved on its own; with `persist: "on-failure"` it runs at once, and is
   * stored only if that fails. It cannot see a transaction of `knex.transaction`: pass that by `.in(trx)`. (Default: `true`)
   */
  requireTransaction?: boolean;
  /** When failed calls are tried again. (Default: after 1 s, doubling up to 10 min, each ±20 %, for 7 days) */
  retry?: Retry;
  /**
   * A call that has ended its process so often while it ran alone (out of memory, `process.exit`) is not run any more:
   * publish-on-commit goes dead, keep-order does as `onExhausted` says, where `block` waits for a person. Ends of the
   * process are counted apart from failures; at least 1. (Default: 5)
   */
  maxCrashes?: number;
  /** How long a run may take before `currentCall().signal` aborts; at least 1 ms. (Default: 30 s) */
  timeout?: Duration;
  /**
   * How long a run may take before it is taken for failed though it has not returned; never before its timeout. `stop`,
   * `close` and `idle` wait at most that long for it. (Default: 5 min)
   */
  abandonAfter?: Duration;
  /**
   * How long a claim holds unless renewed, which happens three times in it; at least 100 ms. The calls of a process that died
   * are taken up after it. (Default: 60 s)
   */
  lease?: Duration;
  /**
   * Runs at once in this process, of both strategies together; at least 1. Also how many streams a relayer serves at once:
   * where more are due, busy ones take turns. (Default: 16)
   */
  concurrency?: number;
  /**
   * Connections kept apart from the application's pool for claims, leases and settling, so that a pool full of transactions
   * starves no lease. Keep-order calls that are saved outside a transaction have as many again: they may wait for others. 0
   * shares the pool. (Default: 2; on PGlite, which has one connection, 0)
   */
  ownConnections?: number;
  /**
   * How long the database may take to answer one statement on connections of the outbox's own, at least 100 ms. Then the
   * connection is given up, and what was asked rejects with a `StatementTimeoutError`, or is tried again. It must be longer
   * than any statement and any wait for a lock: MySQL lets a statement wait 50 s for one. Migrations have no limit.
   * (Default: 60 s)
   */
  statementTimeout?: Duration;
  /**
   * On PostgreSQL, prepares what it sends again and again (at most 100 statements on each connection of its own), which spares
   * the database much of their planning; on connections of yours only inserts, where they were seen to lead straight to their
   * session. `false`: behind PgBouncer in transaction mode, where a prepared statement is not found again (before 1.21, or with
   * `max_prepared_statements = 0`). An outbox that meets that on its own connections says so to the log, and goes on without.
   * (Default: `true`)
   */
  prepareStatements?: boolean;
  /** How often a relayer looks for due calls, also within a stream that it serves; at least 1 ms. (Default: 1 s) */
  pollInterval?: Duration;
  /** What else wakes a relayer. (Default: `{local: true, notify: true}`) */
  wakeUps?: WakeUps;
  /**
   * Saves of one ordering key wait for each other's transactions, so that their order is that of the commits. `false`: they
   * don't, and a call that commits late may be overtaken. (Default: `true`)
   */
  writersLock?: boolean;
  /** The most that a call's encoded arguments and headers may have together. (Default: 1,048,576, which is 1 MiB) */
  maxPayloadBytes?: number;
  /** For functions that name none. (Default: superjson, an instance of our own; see `createSuperjsonCodec`) */
  codec?: Codec;
  /** Refuses calls that were changed, or written, by somebody who has no key: a run of one fails with `SignatureError`. (Default: off) */
  signing?: SigningOptions;
  /** One line per outcome, never the arguments. (Default: silent) */
  logger?: Logger;
}
