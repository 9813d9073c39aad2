import type { Knex } from "knex";
import { type Binding, notMigrated, type Result } from "./database.js";
import type { Dialect } from "./dialect.js";
import { withoutArguments } from "./plain-knex.js";
import type { PreparedInserts } from "./prepared-inserts.js";

let sent = 0;

/** The part of knex's client that its own BEGIN and COMMIT use, too. */
interface TransactionClient extends Knex.Client {
  acquireConnection(): Promise<object>;
  query(connection: object, query: object): Promise<{ response: unknown }>;
}

/**
 * Sends statements in a transaction that somebody else began, past knex's builders: of a small transaction they took 9 % of the
 * process's time for the insert alone. What the application listens for on its knex, it hears; what it does to answers is not
 * done to ours.
 *
 * @param prepared for what is repeated (Default: nothing is prepared)
 */
export function callersTransaction(trx: Knex, dialect: Dialect, prepared?: PreparedInserts) {
  const client = trx.client as TransactionClient;
  return {
    async query<Row>(text: string, bindings: readonly Binding[] = [], isRepeated = false): Promise<Result<Row>> {
      const connection = await client.acquireConnection();
      const names = isRepeated ? prepared : undefined;
      const { sql, name } = names ? names.sending(connection, text) : { sql: text };
      const options = name === undefined ? {} : { name };
      const query = { method: "raw", sql, bindings, options, __knexQueryUid: `carteiro-${++sent}` };
      try {
        // Refuses what comes after the transaction's end, in the tick in which it sends.
        const { response } = await client.query(connection, query);
        client.emit("query-response", response, { ...query }, client.raw(sql, bindings as Knex.RawBinding[]));
        const result = dialect.result<Row>(response);
        names?.answered(connection, result.rows[0] as { session: unknown } | undefined);
        return result;
      } catch (caught) {
        names?.failed(caught);
        const error = withoutArguments(caught, client, sql, bindings);
        throw dialect.isUnmigrated(error) ? notMigrated(error) : error;
      }
    },
  };
}
