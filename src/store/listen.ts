import type { Knex } from "knex";
import { alone, type Connection, type Database, type Tables } from "./database.js";
import type { Notifications } from "./dialect.js";
import { dialectOf, isEmbedded, separateKnex } from "./own-connections.js";
import type { PreparedNames } from "./prepared-names.js";
import type { RawConnection } from "./statement-timeout.js";

/** A connection that hears what other sessions send. */
export interface Listening {
  /** Resolves when the connection has ended, whoever ended it. */
  readonly ended: Promise<void>;
  /** The same connection, for statements that are in a hurry, one at a time; undefined where nothing is prepared. */
  readonly connection?: Connection | undefined;
  close(): Promise<void>;
}

/** Sends texts to all who listen at these tables, together; not to be called in a transaction of somebody else. */
export async function notify(db: Database, notifications: Notifications, texts: readonly string[]): Promise<void> {
  const [only] = texts.length === 1 ? texts : [];
  await db.query(notifications.send(db.tables, only === undefined), [only ?? texts]);
}

/** How sessions of this database reach each other; undefined where they cannot, or where there is only one. */
export function notificationsOf(knex: Knex): Notifications | undefined {
  return isEmbedded(knex) ? undefined : dialectOf(knex).notifications;
}

/**
 * Opens a connection for nothing but listening: in the pool it would be one less for leases, and in a busy one be closed.
 *
 * @param heard told of each text
 */
export async function listen(
  knex: Knex,
  notifications: Notifications,
  tables: Tables,
  statementTimeoutMs: number | undefined,
  names: PreparedNames | undefined,
  heard: (text: string) => void,
): Promise<Listening> {
  const dialect = dialectOf(knex);
  const setUp = [...dialect.sessionSetup(statementTimeoutMs), ...notifications.sessionSetup];
  const own = separateKnex(knex, 1, dialect, { statementMs: statementTimeoutMs, setUp });
  const client = own.client as Knex.Client;
  let connection: RawConnection | undefined;
  // A pool waits for what was not given back to it.
  const close = async () => {
    if (connection) await client.releaseConnection(connection);
    await own.destroy();
  };
  try {
    const opened = (await client.acquireConnection()) as RawConnection;
    connection = opened;
    const ended = new Promise<void>((resolve) => notifications.onEnd(opened, resolve));
    await notifications.listen(opened, tables, heard);
    return { ended, connection: names && alone(opened, own, dialect, names), close };
  } catch (error) {
    await close();
    throw error;
  }
}
