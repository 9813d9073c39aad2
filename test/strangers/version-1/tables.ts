import type { Knex } from "knex";
import { calls } from "../../../migrations/001-calls.js";
import { dialectOf } from "../../../src/store/own-connections.js";
import { resolveTables } from "../../../src/store/tables.js";

/** Makes the tables as the first release left them. */
export async function makeTablesOfVersion1(knex: Knex, prefix: string): Promise<void> {
  const dialect = dialectOf(knex);
  const tables = resolveTables({ tablePrefix: prefix }, dialect);
  const index = (name: string) => dialect.quote(`${prefix}${name}`);
  for (const statement of calls.up[dialect.family]({ ...tables, index, writerSlots: 256 })) {
    await knex.raw(statement as string);
  }
  await knex.raw(
    `create table ${tables.migrations} (version integer not null primary key, name varchar(200) not null, applied_at ${dialect.momentType} not null)`,
  );
  await knex.raw(`insert into ${tables.migrations} (version, name, applied_at) values (1, 'calls', ${dialect.now})`);
}
