import type { Knex } from "knex";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { migrations } from "../../migrations/list.js";
import { down } from "../../src/store/migrate.js";
import { defaultOwnConnections, dialectOf } from "../../src/store/own-connections.js";
import { openStore, type Store } from "../../src/store/store.js";
import { resolveTables, type TableOptions } from "../../src/store/tables.js";
import type { Engine, TestDatabase } from "../support/databases.js";
import { aCall, inLine } from "./support.js";

/** What a migrated database says of itself. */
export const ALL_VERSIONS = migrations.map(({ version }) => version);

/** An empty database for each test: most of these tests leave tables that the next one must not find. */
export function useEmptyDatabase(engine: Engine, prefixes: readonly string[] = []) {
  const context = {} as { database: TestDatabase; knex: Knex };
  const stores: Store[] = [];
  let database: TestDatabase;
  beforeAll(async () => {
    database = await engine.create();
    Object.assign(context, { database, knex: database.knex });
  });
  beforeEach(async () => {
    for (const tablePrefix of ["carteiro_", ...prefixes]) await down(context.knex, { tablePrefix });
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
  });
  afterAll(() => database.close());
  return Object.assign(context, {
    open(options: TableOptions = {}, knex = context.knex): Store {
      const tables = resolveTables(options, dialectOf(knex));
      const ownConnections = defaultOwnConnections(knex);
      const store = openStore({ knex, ownConnections, tables, writersLock: true, leaseMs: 60_000 });
      stores.push(store);
      return store;
    },
    versions: async (table = "carteiro_migrations") =>
      (await context.knex<{ version: number }>(table).select("version")).map(({ version }) => version),
  });
}

/** Every table is used: calls of both strategies saved, claimed, settled, held and listed. */
export async function expectWorking(store: Store, knex: Knex): Promise<void> {
  await store.checkSchema();
  const [call, line] = [aCall(), inLine("a")];
  await knex.transaction((trx) => store.insert(trx, [call, line]));
  const [claimed] = await store.claimById([call.id]);
  expect(claimed?.id).toBe(call.id);
  expect(await store.settleCalls([{ lease: claimed!.lease, settled: { state: "deleted" } }])).toEqual([]);
  const lease = (await store.acquireStream("line"))!;
  const { calls } = await store.fetchLine(lease, 10);
  expect(calls.map(({ id }) => id)).toEqual([line.id]);
  const head = { seq: calls[0]!.seq, attempts: 1 };
  await store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: 0 }, head }]);
  expect(await store.fetchDueKeys(lease, 10)).toMatchObject([{ head: { id: line.id } }]);
  await store.settleStream(lease, [
    { kind: "delete", seq: head.seq },
    { kind: "release", key: Buffer.from("a") },
  ]);
  await store.releaseStream(lease);
  expect(await store.dueStreams()).toEqual([]);
  expect(await store.listCalls({ limit: 10 })).toEqual([]);
  expect(await store.streamStatus()).toEqual([]);
}
