import { randomUUID } from "node:crypto";
import type { Knex } from "knex";
import { afterAll, afterEach, beforeAll, beforeEach, describe } from "vitest";
import { type Binding, connectionOf, type Database } from "../../src/store/database.js";
import type { Dialect, Seq } from "../../src/store/dialect.js";
import type { NewCall } from "../../src/store/insert-calls.js";
import { defaultOwnConnections, dialectOf } from "../../src/store/own-connections.js";
import { openStore, type Store, type StoreOptions } from "../../src/store/store.js";
import { resolveTables } from "../../src/store/tables.js";
import { type Engine, engines, type TestDatabase } from "../support/databases.js";
import { sessionsAwaitingLocks } from "../support/lock-waits.js";
import { until } from "../support/waiting.js";

export const LEASE_MS = 60_000;

/** A migrated database with a store on it. */
export interface StoreUnderTest {
  readonly database: TestDatabase;
  readonly knex: Knex;
  readonly dialect: Dialect;
  readonly tables: StoreOptions["tables"];
  readonly store: Store;
  /** Another store on the same tables, over another knex where the test gives one; closed with the rest. */
  openAnother(options?: Partial<StoreOptions>): Store;
  /** Another pool on the same database whose sessions have run these statements. Servers only. */
  poolWith(...statements: string[]): Knex;
  /** A transaction that the test holds open; rolled back after the test where it did not end it. (Default: read committed) */
  begin(isolationLevel?: Knex.TransactionConfig["isolationLevel"], on?: Knex): Promise<Knex.Transaction>;
  select<Row>(sql: string, bindings?: readonly Binding[]): Promise<Row[]>;
  /** Every call, in the order of `seq`. */
  rows(): Promise<Row[]>;
  keys(): Promise<KeyRow[]>;
  /** Lets the leases of these calls, or of a stream, end now. */
  expireCalls(seqs: readonly Seq[]): Promise<unknown>;
  expireStream(stream: string): Promise<unknown>;
}

/** What the tests look at, in JavaScript's types. */
export interface Row {
  seq: Seq;
  id: string;
  functionName: string;
  stream: string;
  strategy: string;
  orderingKey: Buffer;
  state: string;
  attempts: number;
  fence: number;
  leaseToken: string | null;
  codec: string;
  version: number;
  headers: string;
  payload: string;
  lastError: string | null;
  createdMs: number;
  dueMs: number;
  leaseUntilMs: number | null;
  settledMs: number | null;
}

export interface KeyRow {
  stream: string;
  orderingKey: Buffer;
  state: string;
  dueMs: number;
  sinceMs: number;
}

/** A store for the tests of a suite, on a database of their own; each test finds its tables empty, unless they are kept. */
export function useStore(
  engine: Engine,
  options: Partial<StoreOptions> = {},
  { keepsTables = false } = {},
): StoreUnderTest {
  const context = {} as { -readonly [Part in keyof StoreUnderTest]: StoreUnderTest[Part] };
  const stores: Store[] = [];
  const begun: Knex.Transaction[] = [];
  beforeAll(async () => {
    const database = await engine.create();
    const { knex } = database;
    const dialect = dialectOf(knex);
    const tables = resolveTables({}, dialect);
    const openAnother = (overrides: Partial<StoreOptions> = {}): Store => {
      const on = overrides.knex ?? knex;
      const ownConnections = defaultOwnConnections(on);
      const store = openStore({
        knex: on,
        ownConnections,
        tables,
        writersLock: true,
        leaseMs: LEASE_MS,
        ...options,
        ...overrides,
      });
      stores.push(store);
      return store;
    };
    const select = async <One>(sql: string, bindings?: readonly Binding[]) =>
      (await connectionOf(knex, dialect).query<One>(sql, bindings)).rows;
    Object.assign(context, {
      database,
      knex,
      dialect,
      tables,
      store: openAnother(),
      openAnother,
      select,
      begin: async (isolationLevel = "read committed", on = knex) => {
        const trx = await on.transaction(undefined, { isolationLevel });
        begun.push(trx);
        return trx;
      },
      poolWith: (...statements: string[]) => database.newKnex!({ pool: sessionsWith(statements) }),
      rows: () => readRows(select, dialect, tables.calls),
      keys: () => readKeys(select, dialect, tables.keys),
      expireCalls: (seqs: readonly Seq[]) =>
        select(`update ${tables.calls} set lease_until = ${dialect.after("-1")} where ${dialect.among("seq")}`, [seqs]),
      expireStream: (stream: string) =>
        select(`update ${tables.streams} set lease_until = ${dialect.after("-1")} where stream = ?`, [stream]),
    } satisfies StoreUnderTest);
    await context.store.migrate();
  });
  beforeEach(async () => {
    if (keepsTables) return;
    for (const table of [context.tables.calls, context.tables.keys, context.tables.streams]) {
      await context.knex.raw(`delete from ${table}`);
    }
  });
  afterEach(async () => {
    for (const trx of begun.splice(0)) if (!trx.isCompleted()) await trx.rollback();
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await context.database.close();
  });
  return context;
}

/** `describe`, once for each engine that the suite is about. (Default: those with sessions beside each other) */
export function describeSome(
  title: string,
  suite: (engine: Engine) => void,
  isMeant: (engine: Engine) => boolean = ({ name }) => name !== "pglite",
): void {
  for (const engine of engines.filter(isMeant)) {
    if (engine.skipReason === undefined) describe(`${title} [${engine.name}]`, () => suite(engine));
    else describe.skip(`${title} [${engine.name}: ${engine.skipReason}]`, () => suite(engine));
  }
}

/** A pool whose sessions run these statements first. */
export function sessionsWith(statements: readonly string[], max = 10): Knex.PoolConfig {
  interface RawConnection {
    query(sql: string, done: (error: Error | null) => void): void;
  }
  type Done = (error: Error | null, connection: RawConnection) => void;
  const runAll = (connection: RawConnection, [first, ...rest]: readonly string[], done: Done): void => {
    if (first === undefined) return done(null, connection);
    connection.query(first, (error) => (error ? done(error, connection) : runAll(connection, rest, done)));
  };
  return { min: 0, max, afterCreate: (connection: RawConnection, done: Done) => runAll(connection, statements, done) };
}

/** A publish-on-commit call, due at once. */
export function aCall(overrides: Partial<NewCall> = {}): NewCall {
  return {
    id: randomUUID(),
    functionName: "send",
    stream: "default",
    strategy: "publish-on-commit",
    orderingKey: Buffer.alloc(0),
    codec: "superjson",
    version: 1,
    payload: "[]",
    headers: "{}",
    delayMs: 0,
    ...overrides,
  };
}

/** A keep-order call of the stream `line`. */
export function inLine(key: string | Buffer, overrides: Partial<NewCall> = {}): NewCall {
  return aCall({ strategy: "keep-order", stream: "line", orderingKey: Buffer.from(key), ...overrides });
}

/** Stores calls in a transaction of their own. @returns the calls, for their ids */
export async function insert({ knex, store }: StoreUnderTest, calls: NewCall[]): Promise<NewCall[]> {
  await knex.transaction((trx) => store.insert(trx, calls));
  return calls;
}

/** The statements of the store in an open transaction, which the test holds as long as it needs. */
export function databaseIn({ dialect, tables }: StoreUnderTest, trx: Knex.Transaction): Database {
  const connection = connectionOf(trx, dialect);
  return { dialect, tables, query: connection.query, transaction: (work) => work(connection) };
}

/** Resolves once this many sessions of the database wait for a lock of another one; fails where none comes to wait. */
export async function untilWaiting({ select, dialect }: StoreUnderTest, sessions = 1): Promise<void> {
  await until(
    `${sessions} session(s) wait for a lock`,
    async () => (await sessionsAwaitingLocks(dialect.family, select)).length === sessions,
  );
}

type Select = StoreUnderTest["select"];

async function readRows(select: Select, { epochMs }: Dialect, calls: string): Promise<Row[]> {
  interface Raw extends Record<"fence" | "created_ms" | "due_ms", number | string> {
    seq: Seq;
    id: string;
    function_name: string;
    stream: string;
    strategy: string;
    ordering_key: Uint8Array;
    state: string;
    attempts: number;
    lease_id: string | null;
    codec: string;
    version: number;
    headers: string;
    payload: string;
    last_error: string | null;
    lease_ms: number | string | null;
    settled_ms: number | string | null;
  }
  const rows = await select<Raw>(
    `select seq, id, function_name, stream, strategy, ordering_key, state, attempts, fence, lease_id, codec, version, headers,
       payload, last_error, ${epochMs("created_at")} as created_ms, ${epochMs("due_at")} as due_ms, ${epochMs("lease_until")} as lease_ms,
       ${epochMs("settled_at")} as settled_ms
     from ${calls} order by seq`,
  );
  return rows.map((row) => ({
    seq: row.seq,
    id: row.id,
    functionName: row.function_name,
    stream: row.stream,
    strategy: row.strategy,
    orderingKey: Buffer.from(row.ordering_key),
    state: row.state,
    attempts: row.attempts,
    fence: Number(row.fence),
    leaseToken: row.lease_id,
    codec: row.codec,
    version: row.version,
    headers: row.headers,
    payload: row.payload,
    lastError: row.last_error,
    createdMs: Number(row.created_ms),
    dueMs: Number(row.due_ms),
    leaseUntilMs: row.lease_ms === null ? null : Number(row.lease_ms),
    settledMs: row.settled_ms === null ? null : Number(row.settled_ms),
  }));
}

async function readKeys(select: Select, { epochMs }: Dialect, keys: string): Promise<KeyRow[]> {
  const rows = await select<{
    stream: string;
    ordering_key: Uint8Array;
    state: string;
    due_ms: number | string;
    since_ms: number | string;
  }>(
    `select stream, ordering_key, state, ${epochMs("due_at")} as due_ms, ${epochMs("since")} as since_ms
     from ${keys} order by stream, ordering_key`,
  );
  return rows.map((row) => ({
    stream: row.stream,
    orderingKey: Buffer.from(row.ordering_key),
    state: row.state,
    dueMs: Number(row.due_ms),
    sinceMs: Number(row.since_ms),
  }));
}
