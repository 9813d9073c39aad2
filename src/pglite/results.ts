import type { messages } from "@electric-sql/pglite";
import * as pgTypes from "pg-types";

/** One column of a result, as node-postgres describes it. */
export interface Field {
  name: string;
  tableID: number;
  columnID: number;
  dataTypeID: number;
  dataTypeSize: number;
  dataTypeModifier: number;
  format: "text";
}

/** What one statement answered, as node-postgres gives it. */
export interface StatementResult {
  /** The first word of the command tag: `ROLLBACK` where a COMMIT found its transaction aborted; null for an empty query. */
  command: string | null;
  /** The count in the command tag; null for a command that counts nothing. */
  rowCount: number | null;
  oid: number | null;
  rows: unknown[];
  fields: Field[];
}

/** How rows are read. */
export interface ReadOptions {
  /** `array` gives each row as an array of its values. (Default: an object by column name) */
  rowMode?: "array";
  /** Where the parsers of column types come from. (Default: node-postgres's own) */
  types?: TypeParsers;
}

interface TypeParsers {
  getTypeParser(typeId: number, format: "text"): (text: string) => unknown;
}

// Its own typing takes built-in types only, and answers any.
const nodePostgresTypes = pgTypes as unknown as TypeParsers;

/** The transaction status after a batch: idle, in a transaction, or in an aborted one. */
export type TransactionStatus = "I" | "T" | "E";

/** The status that the server reported last; undefined where it did not come to that. */
export function transactionStatus(batch: readonly messages.BackendMessage[]): TransactionStatus | undefined {
  const ready = batch.findLast(isReadyForQuery);
  return ready?.status as TransactionStatus | undefined;
}

/**
 * The result of a batch; an array of them where it held several statements.
 *
 * @throws the server's error, with SQLSTATE in `code`, where a statement failed; an Error where one was not answered
 */
export function readResults(
  batch: readonly messages.BackendMessage[],
  options: ReadOptions,
): StatementResult | StatementResult[] {
  const failure = batch.find(isError);
  if (failure !== undefined) throw failure;
  refuseUnanswered(batch);

  const results: StatementResult[] = [];
  let reader = new ResultReader(options);
  for (const message of batch) {
    if (isRowDescription(message)) reader.describe(message);
    else if (isDataRow(message)) reader.addRow(message);
    else if (isCommandComplete(message)) {
      results.push(reader.complete(message.text));
      reader = new ResultReader(options);
    }
  }
  if (results.length === 0) return reader.result;
  return results.length === 1 ? results[0]! : results;
}

/**
 * Where the JavaScript stack ends inside PGlite (seen: a sum of 300 parameters), it drops that message and goes on with
 * the next, without an error: a statement that never ran would look like one that found nothing.
 */
function refuseUnanswered(batch: readonly messages.BackendMessage[]): void {
  const names = new Set(batch.map((message) => message.name));
  const isAnswered = names.has("commandComplete") || names.has("emptyQuery");
  const isBound = names.has("bindComplete") || !names.has("parseComplete");
  if (isAnswered && isBound) return;
  throw new Error("PGlite dropped the statement without an answer; an expression in it may be nested too deeply.");
}

class ResultReader {
  readonly result: StatementResult = { command: null, rowCount: null, oid: null, rows: [], fields: [] };
  #parsers: ((text: string) => unknown)[] = [];
  readonly #options: ReadOptions;

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  describe({ fields }: messages.RowDescriptionMessage): void {
    const types = this.#options.types ?? nodePostgresTypes;
    this.result.fields = fields.map(({ name, tableID, columnID, dataTypeID, dataTypeSize, dataTypeModifier }) => {
      return { name, tableID, columnID, dataTypeID, dataTypeSize, dataTypeModifier, format: "text" };
    });
    this.#parsers = fields.map((field) => types.getTypeParser(field.dataTypeID, "text"));
  }

  addRow({ fields }: messages.DataRowMessage): void {
    const values = fields.map((text, index) => (text === null ? null : this.#parsers[index]!(text)));
    if (this.#options.rowMode === "array") this.result.rows.push(values);
    else this.result.rows.push(Object.fromEntries(this.result.fields.map(({ name }, index) => [name, values[index]])));
  }

  complete(tag: string): StatementResult {
    const [, command, first, second] = /^([A-Za-z]+)(?: (\d+))?(?: (\d+))?/.exec(tag) ?? [];
    this.result.command = command ?? null;
    // An INSERT's tag has an object id, always 0 today, before the count.
    if (second !== undefined) this.result.oid = Number(first);
    const count = second ?? first;
    if (count !== undefined) this.result.rowCount = Number(count);
    return this.result;
  }
}

function isError(message: messages.BackendMessage): message is messages.BackendMessage & Error {
  return message.name === "error";
}

function isReadyForQuery(message: messages.BackendMessage): message is messages.ReadyForQueryMessage {
  return message.name === "readyForQuery";
}

function isRowDescription(message: messages.BackendMessage): message is messages.RowDescriptionMessage {
  return message.name === "rowDescription";
}

function isDataRow(message: messages.BackendMessage): message is messages.DataRowMessage {
  return message.name === "dataRow";
}

function isCommandComplete(message: messages.BackendMessage): message is messages.CommandCompleteMessage {
  return message.name === "commandComplete";
}
