import type { Dialect } from "../src/store/dialect.js";

/** The names that a migration's statements are built from, quoted and qualified. */
export interface MigrationNames {
  calls: string;
  keys: string;
  streams: string;
  writers: string;
  /** Unquoted identifiers, for what the database tells of its tables. */
  schema: string | undefined;
  prefix: string;
  /** The name of an index, unique in its schema. */
  index: (name: string) => string;
  writerSlots: number;
}

/** A statement that can be run again, or one with a query that returns a row where it was run already. */
export type MigrationStatement = string | { unless: string; sql: string };

/** For each family of databases, in the order in which they are run. */
export type MigrationStatements = Readonly<Record<Dialect["family"], (names: MigrationNames) => MigrationStatement[]>>;

/** Statements that may be run again after a crash in their middle: MySQL commits each of them by itself. */
export interface Migration {
  /** 1 for the first; no gaps. */
  version: number;
  name: string;
  up: MigrationStatements;
  down: MigrationStatements;
}
