import type { Knex } from "knex";
import { claimById, claimDue, releaseCalls, renewCalls } from "./claim-calls.js";
import { countSent, deleteSent } from "./clean-calls.js";
import { connectionOf, type Database } from "./database.js";
import { dueStreams, readClock } from "./due-streams.js";
import { fetchDueKeys, fetchHeld, fetchLine, hasOtherKeys, readPayload } from "./fetch-stream.js";
import { insertCalls, type NewCall } from "./insert-calls.js";
import { listCalls, streamStatus } from "./list-calls.js";
import { checkSchema, migrateDatabase } from "./migrate.js";
import { openDatabase } from "./own-connections.js";
import { acquireStream, releaseStream, renewStream, settleStream } from "./serve-stream.js";
import { settleCalls } from "./settle-calls.js";
import type { Tables } from "./database.js";

export interface StoreOptions {
  knex: Knex;
  ownConnections: number;
  tables: Tables;
  writersLock: boolean;
  leaseMs: number;
}

/** The seam to the database: the only part of Carteiro that knows SQL. */
export type Store = ReturnType<typeof openStore>;

export function openStore({ knex, ownConnections, tables, writersLock, leaseMs }: StoreOptions) {
  const db: Database & { close(): Promise<void> } = openDatabase(knex, ownConnections, tables);
  let schemaIsRight: Promise<void> | undefined;
  const bound = <Rest extends unknown[], Result>(family: (db: Database, ...rest: Rest) => Result) => {
    return (...rest: Rest): Result => family(db, ...rest);
  };
  return {
    /** Stores calls in the caller's transaction. */
    insert: (trx: Knex, calls: readonly NewCall[]) =>
      insertCalls(connectionOf(trx, db.dialect), db.dialect, tables, calls, writersLock),
    /** Stores calls in a transaction of their own. */
    insertAlone: (calls: readonly NewCall[]) =>
      db.transaction((connection) => insertCalls(connection, db.dialect, tables, calls, writersLock)),

    claimById: (ids: readonly string[]) => claimById(db, ids, leaseMs),
    claimDue: (stream: string, limit: number, dueByMs?: number) => claimDue(db, stream, limit, leaseMs, dueByMs),
    renewCalls: (leases: Parameters<typeof renewCalls>[1]) => renewCalls(db, leases, leaseMs),
    releaseCalls: bound(releaseCalls),
    settleCalls: bound(settleCalls),

    readClock: bound(readClock),
    dueStreams: bound(dueStreams),
    acquireStream: (stream: string) => acquireStream(db, stream, leaseMs),
    renewStream: (lease: Parameters<typeof renewStream>[1]) => renewStream(db, lease, leaseMs),
    releaseStream: bound(releaseStream),
    fetchLine: bound(fetchLine),
    fetchDueKeys: bound(fetchDueKeys),
    fetchHeld: bound(fetchHeld),
    hasOtherKeys: bound(hasOtherKeys),
    readPayload: bound(readPayload),
    settleStream: bound(settleStream),

    deleteSent: bound(deleteSent),
    countSent: bound(countSent),
    listCalls: bound(listCalls),
    streamStatus: bound(streamStatus),

    isWholeRollback: (error: unknown) => db.dialect.isWholeRollback(error),
    isDuplicate: (error: unknown) => db.dialect.isDuplicate(error),

    migrate: bound(migrateDatabase),
    /** Asks the database until it has answered once that all is well. */
    checkSchema: () =>
      (schemaIsRight ??= checkSchema(db).catch((error: unknown) => {
        schemaIsRight = undefined;
        throw error;
      })),
    close: () => db.close(),
  };
}
