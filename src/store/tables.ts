import { InvalidOptionError } from "../errors.js";
import { shown } from "../shown.js";
import type { Tables } from "./database.js";
import type { Dialect } from "./dialect.js";

/** Where the tables live. */
export interface TableOptions {
  /** The schema (PostgreSQL) or database (MySQL). (Default: the connection's own) */
  schema?: string;
  /** (Default: `carteiro_`) */
  tablePrefix?: string;
}

/** PostgreSQL cuts names after 63 bytes; the longest of ours adds 10. */
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,47}$/;

/** @throws {InvalidOptionError} a name that is no identifier */
export function resolveTables({ schema, tablePrefix = "carteiro_" }: TableOptions, dialect: Dialect): Tables {
  requireIdentifier("tablePrefix", tablePrefix);
  if (schema !== undefined) requireIdentifier("schema", schema);
  const name = (table: string) =>
    `${schema === undefined ? "" : `${dialect.quote(schema)}.`}${dialect.quote(`${tablePrefix}${table}`)}`;
  return {
    calls: name("calls"),
    keys: name("keys"),
    streams: name("streams"),
    writers: name("writers"),
    migrations: name("migrations"),
    schema,
    prefix: tablePrefix,
  };
}

function requireIdentifier(option: string, value: string): void {
  if (typeof value === "string" && IDENTIFIER.test(value)) return;
  throw new InvalidOptionError(
    option,
    `is ${shown(value)}; use letters, digits and underscores, not beginning with a digit, at most 48`,
  );
}
