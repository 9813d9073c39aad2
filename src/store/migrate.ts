import type { Knex } from "knex";
import { migrations } from "../../migrations/list.js";
import type { MigrationNames, MigrationStatements } from "../../migrations/migration.js";
import { NotMigratedError, SchemaTooNewError } from "../errors.js";
import { type Connection, connectionOf, type Database, type Tables } from "./database.js";
import type { Dialect } from "./dialect.js";
import { lockSpace, WRITER_SLOTS } from "./insert-calls.js";
import { dialectOf } from "./own-connections.js";
import { resolveTables, type TableOptions } from "./tables.js";

/** The version that this release of Carteiro works with. */
export const SCHEMA_VERSION = migrations.length;

/** Brings the tables up to date; of many processes that start at once, one does the work and the others wait for it. */
export async function migrateDatabase(
  db: Database,
  open: () => Pick<Database, "transaction"> & { close(): Promise<void> },
): Promise<void> {
  if (await isUpToDate(db)) return;
  const patient = open();
  try {
    await patient.transaction((connection) => applyAlone(connection, db.dialect, db.tables));
  } finally {
    await patient.close();
  }
}

/** Asked first, so that a service can say `migrate()` at each start though its account may not create tables. */
async function isUpToDate(db: Database): Promise<boolean> {
  try {
    const version = await readVersion(db, db.tables);
    refuseNewer(version, db.tables);
    return version === SCHEMA_VERSION;
  } catch (error) {
    if (error instanceof NotMigratedError) return false;
    throw error;
  }
}

/**
 * Brings Carteiro's tables up to date from a migration of your own, instead of `outbox.migrate()` or `carteiro migrate`:
 *
 * ```ts
 * import { down, up } from "carteiro/migrations";
 * export { down, up };
 * ```
 *
 * With a schema or a prefix of your own: `export const up = (knex) => carteiro.up(knex, { tablePrefix: "my_" })`. A later
 * release that needs newer tables says so, and asks for another migration like this one.
 *
 * @param knex - what knex hands to your migration, within a transaction or (`disableTransactions`) without
 * @param options - as they are given to `createOutbox`
 * @throws {SchemaTooNewError} the tables were made by a newer Carteiro
 * @throws {InvalidOptionError} a name that is no identifier, or a database that Carteiro does not know
 */
export async function up(knex: Knex, options: TableOptions = {}): Promise<void> {
  await within(knex, options, applyAlone);
}

/**
 * Drops Carteiro's tables with everything in them, calls that have not run included: for the `down` of a migration of your
 * own. The schema stays.
 *
 * @param knex - what knex hands to your migration
 * @param options - as they were given to `up`
 * @throws {InvalidOptionError} a name that is no identifier, or a database that Carteiro does not know
 */
export async function down(knex: Knex, options: TableOptions = {}): Promise<void> {
  await within(knex, options, async (connection, dialect, tables) => {
    for (const migration of migrations.toReversed()) await runAll(connection, dialect, tables, migration.down);
    await connection.query(`drop table if exists ${tables.migrations}`);
  });
}

type Work = (connection: Connection, dialect: Dialect, tables: Tables) => Promise<void>;

/** On one connection, which a lock belongs to. */
async function within(knex: Knex, options: TableOptions, work: Work): Promise<void> {
  const dialect = dialectOf(knex);
  const tables = resolveTables(options, dialect);
  const run = (trx: Knex) => work(connectionOf(trx, dialect), dialect, tables);
  await (knex.isTransaction ? run(knex) : knex.transaction(run));
}

function applyAlone(connection: Connection, dialect: Dialect, tables: Tables): Promise<void> {
  return dialect.withMigrationLock(connection, lockSpace(tables), () => apply(connection, dialect, tables));
}

async function apply(connection: Connection, dialect: Dialect, tables: Tables): Promise<void> {
  if (tables.schema !== undefined) await dialect.createSchema(connection, tables.schema);
  await connection.query(
    `create table if not exists ${tables.migrations} (version integer not null primary key, name varchar(200) not null, applied_at ${dialect.momentType} not null)`,
  );
  const current = await readVersion(connection, tables);
  refuseNewer(current, tables);
  for (const migration of migrations.slice(current)) {
    await runAll(connection, dialect, tables, migration.up);
    await connection.query(
      `insert into ${tables.migrations} (version, name, applied_at) values (?, ?, ${dialect.now})`,
      [migration.version, migration.name],
    );
  }
}

async function runAll(connection: Connection, dialect: Dialect, tables: Tables, statements: MigrationStatements) {
  const names: MigrationNames = {
    ...tables,
    index: (name: string) => dialect.quote(`${tables.prefix}${name}`),
    writerSlots: WRITER_SLOTS,
  };
  for (const statement of statements[dialect.family](names)) {
    const { unless, sql } = typeof statement === "string" ? { sql: statement } : statement;
    const isDone = unless !== undefined && (await connection.query(unless)).count > 0;
    if (!isDone) await connection.query(sql);
  }
}

/**
 * @throws {NotMigratedError} the tables are missing or older than this release needs
 * @throws {SchemaTooNewError} they were made by a newer Carteiro
 */
export async function checkSchema(db: Database): Promise<void> {
  const version = await readVersion(db, db.tables);
  if (version < SCHEMA_VERSION) {
    throw new NotMigratedError(
      `Carteiro's tables (${db.tables.calls}) are at version ${version} and this release needs ${SCHEMA_VERSION}: run \`npx carteiro migrate\`, or await outbox.migrate()`,
    );
  }
  refuseNewer(version, db.tables);
}

function refuseNewer(version: number, tables: Tables): void {
  if (version <= SCHEMA_VERSION) return;
  throw new SchemaTooNewError(
    `Carteiro's tables (${tables.calls}) are at version ${version} and this release knows ${SCHEMA_VERSION}: deploy the release that migrated them, or a newer one`,
  );
}

async function readVersion(connection: Connection, tables: Tables): Promise<number> {
  const { rows } = await connection.query<{ version: number | null }>(
    `select max(version) as version from ${tables.migrations}`,
  );
  return rows[0]?.version ?? 0;
}
