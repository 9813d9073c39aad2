import type { Knex } from "knex";
import { callersTransaction } from "./callers-transaction.js";
import { claimById } from "./claim-by-id.js";
import { beginSuspect, claimDue, type DueLimits, endLeases, releaseCalls, renewCalls } from "./claim-calls.js";
import { countSent, deleteSent } from "./clean-calls.js";
import type { Connection, Database } from "./database.js";
import { dueAmong, dueStreams, readClock } from "./due-streams.js";
import { fetchDueKeys, fetchHeld, fetchLine, hasOtherKeys, readPayload } from "./fetch-stream.js";
import { giveUpHidden, hideCalls, hideHead, restoreHidden } from "./hidden-calls.js";
import { insertCalls, type NewCall } from "./insert-calls.js";
import { listCalls, readCall } from "./list-calls.js";
import { listen, notificationsOf, notify } from "./listen.js";
import { checkSchema, migrateDatabase } from "./migrate.js";
import { countSelected, discardCalls, discardSent, retryCalls, selectCalls } from "./operate-calls.js";
import {
  countRunning,
  hasOpenCall,
  parkKey,
  pauseStream,
  readHead,
  resumeKey,
  resumeStream,
  retryHead,
} from "./operate-streams.js";
import { dialectOf, openDatabase } from "./own-connections.js";
import { lookAgain } from "./look-again.js";
import { PreparedInserts } from "./prepared-inserts.js";
import { PreparedNames } from "./prepared-names.js";
import { readAhead, readWriters } from "./read-ahead.js";
import { acquireStream, releaseStream, renewStream, settleStream, type StreamLease } from "./serve-stream.js";
import { settleCalls } from "./settle-calls.js";
import { confirmChanges, readChanges, readConfirmation } from "./stream-changes.js";
import { openFunctions, streamStatus } from "./stream-status.js";
import type { Logger } from "../types.js";
import type { Tables } from "./database.js";

export interface StoreOptions {
  knex: Knex;
  ownConnections: number;
  tables: Tables;
  writersLock: boolean;
  leaseMs: number;
  /** (Default: none) */
  statementTimeoutMs?: number;
  /** (Default: `true`) */
  preparesStatements?: boolean;
  /** (Default: silent) */
  logger?: Pick<Logger, "warn">;
}

const FOREIGN_SESSIONS =
  "a prepared statement was not there, or somebody else's, as behind PgBouncer in transaction mode: from now on none is prepared. Set prepareStatements: false";

type ClosableDatabase = Database & { close(): Promise<void> };

/** The seam to the database: the only part of Carteiro that knows SQL. */
export type Store = ReturnType<typeof openStore>;

export function openStore(options: StoreOptions) {
  const {
    knex,
    ownConnections,
    tables,
    writersLock,
    leaseMs,
    statementTimeoutMs,
    preparesStatements = true,
    logger,
  } = options;
  const isPreparing = preparesStatements && ownConnections > 0 && dialectOf(knex).prepared !== undefined;
  const names = isPreparing ? new PreparedNames(() => logger?.warn({}, FOREIGN_SESSIONS)) : undefined;
  const open = (): ClosableDatabase => openDatabase(knex, ownConnections, tables, statementTimeoutMs, names);
  const db = open();
  /** For what waits for the application's transactions: on the other connections leases are renewed meanwhile. */
  let waiting: ClosableDatabase | undefined;
  const prepared = preparesStatements ? PreparedInserts.for(db.dialect) : undefined;
  let schemaIsRight: Promise<void> | undefined;
  const notifications = notificationsOf(knex);
  /** The connection that listens, while nothing else is sent there. */
  let atHand: Connection | undefined;
  /** By the connection that listens, which need not be waited for, or else by any; `work` does no harm when it is done twice. */
  const hurried = async <T>(work: (on: Database) => Promise<T>): Promise<T> => {
    const connection = atHand;
    if (!connection) return work(db);
    atHand = undefined;
    try {
      const done = await work({ ...db, query: (sql, bindings) => connection.query(sql, bindings) });
      atHand = connection;
      return done;
    } catch {
      // Whatever was the matter with it: the others are kept up by the pool.
      return work(db);
    }
  };
  const bound = <Rest extends unknown[], Result>(family: (db: Database, ...rest: Rest) => Result) => {
    return (...rest: Rest): Result => family(db, ...rest);
  };
  return {
    /** Stores calls in the caller's transaction. */
    insert: (trx: Knex, calls: readonly NewCall[]) =>
      insertCalls(callersTransaction(trx, db.dialect, prepared), db.dialect, tables, calls, writersLock),
    /** Stores calls in a transaction of their own, which may wait for their keys' other writers. */
    insertAlone(calls: readonly NewCall[]) {
      const mayWait = writersLock && calls.some(({ strategy }) => strategy === "keep-order");
      const on = mayWait ? (waiting ??= open()) : db;
      return on.transaction((connection) => insertCalls(connection, db.dialect, tables, calls, writersLock));
    },

    claimById: (ids: readonly string[]) => claimById(db, ids, leaseMs),
    claimDue: (stream: string, limit: number, due?: DueLimits) => claimDue(db, stream, limit, leaseMs, due),
    renewCalls: (leases: Parameters<typeof renewCalls>[1]) => renewCalls(db, leases, leaseMs),
    releaseCalls: bound(releaseCalls),
    endLeases: bound(endLeases),
    beginSuspect: bound(beginSuspect),
    settleCalls: bound(settleCalls),

    readClock: bound(readClock),
    dueStreams: bound(dueStreams),
    dueAmong: bound(dueAmong),
    acquireStream: (stream: string) => acquireStream(db, stream, leaseMs),
    renewStream: (lease: Parameters<typeof renewStream>[1]) => renewStream(db, lease, leaseMs),
    releaseStream: bound(releaseStream),
    lookAgain: (lease: StreamLease, limit: number) => hurried((on) => lookAgain(on, lease, limit)),
    fetchLine: bound(fetchLine),
    readAhead: bound(readAhead),
    readWriters: bound(readWriters),
    fetchDueKeys: bound(fetchDueKeys),
    fetchHeld: bound(fetchHeld),
    hasOtherKeys: bound(hasOtherKeys),
    readPayload: bound(readPayload),
    settleStream: bound(settleStream),
    readChanges: bound(readChanges),
    confirmChanges: bound(confirmChanges),

    /** Whether other processes can be told of a commit. */
    canNotify: notifications !== undefined,
    /** Whether this one can hear of theirs: that takes a connection of its own. */
    canListen: notifications !== undefined && ownConnections > 0,
    notify: async (texts: readonly string[]) => {
      if (notifications) await notify(db, notifications, texts);
    },
    listen: async (heard: (text: string) => void) => {
      if (!notifications) throw new Error("this database has nothing to listen to");
      const opened = await listen(knex, notifications, tables, statementTimeoutMs, names, heard);
      atHand = opened.connection;
      void opened.ended.then(() => {
        if (atHand === opened.connection) atHand = undefined;
      });
      return opened;
    },

    deleteSent: bound(deleteSent),
    countSent: bound(countSent),
    listCalls: bound(listCalls),
    readCall: bound(readCall),
    streamStatus: bound(streamStatus),
    openFunctions: bound(openFunctions),

    selectCalls: bound(selectCalls),
    countSelected: bound(countSelected),
    retryCalls: bound(retryCalls),
    discardCalls: bound(discardCalls),
    discardSent: bound(discardSent),
    hideCalls: bound(hideCalls),
    hideHead: bound(hideHead),
    restoreHidden: bound(restoreHidden),
    giveUpHidden: bound(giveUpHidden),
    pauseStream: bound(pauseStream),
    resumeStream: bound(resumeStream),
    countRunning: bound(countRunning),
    parkKey: bound(parkKey),
    hasOpenCall: bound(hasOpenCall),
    resumeKey: bound(resumeKey),
    retryHead: bound(retryHead),
    readHead: bound(readHead),
    readConfirmation: bound(readConfirmation),

    isWholeRollback: (error: unknown) => db.dialect.isWholeRollback(error),
    isDuplicate: (error: unknown) => db.dialect.isDuplicate(error),

    /** On a connection without a time limit: it waits for others who migrate, and indexes of large tables take long. */
    migrate: () => migrateDatabase(db, () => openDatabase(knex, Math.min(ownConnections, 1), tables)),
    /** Asks the database until it has answered once that all is well. */
    checkSchema: () =>
      (schemaIsRight ??= checkSchema(db).catch((error: unknown) => {
        schemaIsRight = undefined;
        throw error;
      })),
    async close() {
      // From now on nothing opens others.
      waiting ??= db;
      await Promise.all([...new Set([db, waiting])].map((one) => one.close()));
    },
  };
}
