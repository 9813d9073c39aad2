import type { Knex } from "knex";
import type { Binding, Connection, Result, Sql, Tables } from "./database.js";
import type { RawConnection, RawSocket } from "./statement-timeout.js";

/** The right to settle one claimed call. */
export interface CallLease {
  seq: Seq;
  token: string;
}

/** Tells leases apart, two of one call included. */
export function leaseKey({ seq, token }: CallLease): string {
  return `${seq} ${token}`;
}

/** Calls that were claimed together have one token. */
export function seqsByToken(leases: readonly CallLease[]): Map<string, Seq[]> {
  const byToken = new Map<string, Seq[]>();
  for (const { seq, token } of leases) {
    const seqs = byToken.get(token);
    if (seqs) seqs.push(seq);
    else byToken.set(token, [seq]);
  }
  return byToken;
}

/** A row's place in the table. A text on PostgreSQL, whose bigints cross the driver as such; opaque to everybody else. */
export type Seq = string | number;

/** The column types that a rowset can have. */
export type ColumnType = "seq" | "text" | "int" | "ms" | "uuid" | "bytes";

/** An insert of `select`'s `columns`, or an update of those to take over. */
export interface Upsert {
  into: string;
  key: readonly string[];
  columns: readonly string[];
  select: string;
  takenOver: readonly string[];
  keptState: string;
}

/** A connection's other end, in the database. */
export interface Session {
  /** The expression that tells it. */
  readonly id: string;
  /** Whether the driver was told this one when it connected: a pooler in between tells it something else. */
  isOf(connection: object, id: unknown): boolean;
  /** It does not know the name of a prepared statement, or has another one by it. */
  isNameUnknown(error: unknown): boolean;
}

/** How sessions tell each other that there is something to do. */
export interface Notifications {
  /** What a session that listens begins with. */
  readonly sessionSetup: readonly string[];
  /** A statement that sends the text, or each of the list, that its single binding holds. */
  send(tables: Tables, isList: boolean): string;
  /** Makes the connection hear what is sent from now on. */
  listen(connection: RawConnection, tables: Tables, heard: (text: string) => void): Promise<void>;
  onEnd(connection: RawConnection, ended: () => void): void;
}

/** Statements that are prepared under a name. */
export interface Prepared {
  /** What a session that prepares begins with. */
  readonly sessionSetup: readonly string[];
  /**
   * `foreign`: the session is not the one that prepared it, or somebody else has: a pooler is in between. `outdated`: a column
   * has another type since.
   */
  troubleOf(error: unknown): "foreign" | "outdated" | undefined;
}

/** What differs between the databases. Each member answers one question; none of them is a name to branch on. */
export interface Dialect {
  /** Which of a migration's statements to run. */
  readonly family: "postgres" | "mysql";
  /** `UPDATE … RETURNING` and data-modifying CTEs: claims and settles in one statement. */
  readonly returning: boolean;
  /** Rows arrive faster as one, with each column's values joined: see `joinedList`. */
  readonly joinsRows: boolean;
  /** The column type of a moment. */
  readonly momentType: string;
  /** How a text becomes a parameter that arrives as it is, whatever character set the application's connection has. */
  text(value: string): { sql: string; binding: Binding };
  /** The moment at which the statement began. */
  readonly now: string;
  /** The moment now, also within a longer transaction. */
  readonly clock: string;
  quote(identifier: string): string;
  /** `milliseconds` (an expression) after a moment. (Default: after the statement began) */
  after(milliseconds: string, from?: string): string;
  /** The moment that `milliseconds` (an expression) since 1970 stand for. */
  moment(milliseconds: string): string;
  /** A moment that does not come. */
  readonly never: string;
  /** Milliseconds since 1970 of an expression. */
  epochMs(expression: string): string;
  /** Milliseconds from one moment to another. */
  elapsedMs(from: string, to: string): string;
  /** The values of a group in one text, with commas between them; some servers cut it at a length. */
  joined(expression: string): string;
  /** `column` contains a text, byte for byte. */
  contains(column: string, text: string): { sql: string; binding: Binding };
  /** `column` is one of the list that a single binding holds; the list is not empty. */
  among(column: string): string;
  /** An ordering key as a driver reads it with the least effort, and its name (see `nameOf`) from what it gave. */
  keyColumn(column: string): string;
  keyName(value: unknown): string;
  /** Seqs as the binding of `among`: many of them, and often. */
  seqs(seqs: readonly Seq[]): Binding;
  /** The calls `alias` that these leases still hold; not empty. */
  held(alias: string, leases: readonly CallLease[]): Sql;
  /** A table `alias` of literal rows; not empty. */
  rowset(alias: string, columns: Readonly<Record<string, ColumnType>>, rows: readonly (readonly Binding[])[]): Sql;
  /** Many rows are inserted faster from a rowset than as values. */
  readonly insertsRowsets: boolean;
  /** What follows `join` or `left join`: the one row of `table` with this key, if there is one; `alias.column` is its. */
  lookUp(table: string, alias: string, column: string, condition: string): string;
  /** An update of the calls `c` by a rowset `u` with their `seq`; a condition follows. */
  updateFrom(calls: string, u: Sql, set: Readonly<Record<string, string>>): string;
  /** The streams of `table` that have a row with these texts in its columns; only those with a due one where `isDue`. */
  streamsOf(table: string, texts: Readonly<Record<string, string>>, isDue: boolean): string;
  /** An insert of one row that does nothing where the row is there. */
  insertIfAbsent(table: string, columns: readonly string[]): string;
  /** An insert of a select's rows that leaves out those that are there. */
  insertSelectIfAbsent(into: string, select: string): string;
  /** An insert of a select's rows; where one with its key is there, it takes over columns, unless its `state` is one to keep. */
  upsertSelect(upsert: Upsert): string;
  /**
   * Reads the index named, where the database has to be told. A statement that locks rows is told `primary`: of a small table
   * MariaDB would read every row, and wait for what others have inserted and not committed (seen).
   */
  useIndex(name: string): string;
  /** Deletes these rows of a table `c`, by its primary key; those that meet the condition. (Default: all of them) */
  deleteBySeq(table: string, seqs: readonly Seq[], condition?: string): Sql;
  readonly lockInShareMode: string;
  /** Takes the writers' locks of these slots until the transaction ends. */
  lockWriters(connection: Connection, tables: Tables, slots: number[]): Promise<void>;
  /**
   * What follows `from` in an insert of one row, so that the row, and so its `seq`, is there only once the writers' lock of the
   * slot in its binding was taken. Undefined where that takes a statement of its own.
   */
  readonly rowOnceWriterLocked?: (tables: Tables) => string;
  /**
   * The same for an insert of values: an expression that is its first binding once the writers' lock of the slot in its second
   * one was taken, and null where that lock is missing. Undefined where that takes a statement of its own.
   */
  readonly valueOnceWriterLocked?: (tables: Tables) => string;
  /** Undefined where preparing statements under a name saves nothing. */
  readonly session?: Session;
  /** Undefined where a name saves nothing. */
  readonly prepared?: Prepared;
  /** Undefined where sessions cannot send each other anything. */
  readonly notifications?: Notifications;
  /** Creates the schema where that is usual and it is missing. */
  createSchema(connection: Connection, schema: string): Promise<void>;
  /** Runs `work` while no other process is migrating; the lock ends with the connection. */
  withMigrationLock<T>(connection: Connection, lockSpace: number, work: () => Promise<T>): Promise<T>;
  /** The application's connection settings, with those that would change our results as we need them. */
  ownConnection(connection: Knex.Config["connection"]): Knex.Config["connection"];
  /** The driver, which shows every connection to `opened` before it connects. */
  watchedDriver(driver: unknown, opened: (connection: RawConnection) => void): unknown;
  /** Where its bytes go now; undefined where the driver keeps that to itself. */
  socketOf(connection: RawConnection): RawSocket | undefined;
  /** The statements that a connection of our own begins with: it reads only what is committed. */
  sessionSetup(statementMs: number | undefined): readonly string[];
  result<Row>(answer: unknown): Result<Row>;
  /** Who has locked a table to write to it, one a row; undefined where only few may ask. */
  readonly writersOf?: (table: string) => string;
  /** A table or a column is not there. */
  isUnmigrated(error: unknown): boolean;
  /** A deadlock, a lock wait that ran out, a transaction that could not be serialised. */
  isContention(error: unknown): boolean;
  /** A column was given null that takes none. */
  isNullRefused(error: unknown): boolean;
  /** A row with this key is there already. */
  isDuplicate(error: unknown): boolean;
  /** The database has rolled the whole transaction back, and takes what follows as single statements. */
  isWholeRollback(error: unknown): boolean;
}

/** Drivers give a boolean, a number, or a number as a text. */
export function isTrue(value: unknown): boolean {
  return Number(value) === 1;
}
