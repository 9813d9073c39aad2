import type { Knex } from "knex";
import type { Binding } from "./database.js";

const silent = () => undefined;

/**
 * Instead of settings that would change our results (camel-casing hooks), show arguments in error messages, or print what
 * our errors say again.
 */
export const PLAIN = {
  log: { debug: silent, warn: silent, error: silent, deprecate: silent },
  postProcessResponse: undefined,
  wrapIdentifier: undefined,
  compileSqlOnError: false,
  asyncStackTraces: false,
};

/** The client of a knex or transaction that has settings of the application's, seen through our own. */
export function plainClient(knex: Knex): Knex.Client {
  const client = knex.client as Knex.Client;
  return Object.create(client, { config: { value: { ...client.config, ...PLAIN } } }) as Knex.Client;
}

const SHOWN_LENGTH = 200;

/**
 * Takes the statement's values out of its error, and most of a long statement: an insert holds the arguments of calls. The
 * error stays the driver's own, for those who match on its code.
 */
export function withoutArguments(error: unknown, client: Knex.Client, sql: string, bindings: readonly Binding[]) {
  if (!(error instanceof Error)) return error;
  const shortSql = sql.length > SHOWN_LENGTH ? `${sql.slice(0, SHOWN_LENGTH)}…` : sql;
  const filledIn = client.raw(sql, bindings as Knex.RawBinding[]) as Knex.Raw;
  const prefixes = [client.positionBindings(sql) as string, filledIn.toQuery()];
  const prefix = prefixes.find((shown) => error.message.startsWith(`${shown} - `));
  if (prefix !== undefined) error.message = `${shortSql} - ${error.message.slice(prefix.length + 3)}`;
  // mysql2 keeps the statement as it was sent.
  if ("sql" in error) error.sql = shortSql;
  return error;
}
