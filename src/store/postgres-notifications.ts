import type { Tables } from "./database.js";
import type { Notifications } from "./dialect.js";
import type { RawConnection } from "./statement-timeout.js";

/** What of pg's client is needed beside what the drivers have in common. */
interface Listener extends RawConnection {
  on(event: "notification", listener: (message: { channel: string; payload?: string }) => void): unknown;
  once(event: "end", listener: () => void): unknown;
}

/**
 * By the table's own number, as the writers' locks: two outboxes in one database do not hear each other, and a process that
 * is told the schema hears one that finds it by its search path. A table that was made anew has another one, which the next
 * self-test notices.
 */
const channelOf = ({ calls }: Tables) => `'carteiro_' || '${calls}'::regclass::oid`;

export const notifications: Notifications = {
  // What is sent here is planned once, which spares it a third of its time (seen: 0.3 ms of 0.9). That a plan is made while the
  // tables are empty does no harm where it can be nothing but the way by the indexes.
  sessionSetup: [
    "set plan_cache_mode = force_generic_plan",
    ...["seqscan", "bitmapscan", "sort", "hashjoin", "mergejoin"].map((way) => `set enable_${way} = off`),
    "set jit = off",
  ],

  send: (tables, isList) =>
    isList
      ? `select pg_notify(${channelOf(tables)}, told) from unnest(?::text[]) as told`
      : `select pg_notify(${channelOf(tables)}, ?)`,

  async listen(connection, tables, heard) {
    const client = connection as Listener;
    const [row] = await rowsOf<{ channel: string }>(client, `select ${channelOf(tables)} as channel`);
    const { channel } = row as { channel: string };
    client.on("notification", (message) => message.channel === channel && heard(message.payload ?? ""));
    await rowsOf(client, `listen ${channel}`);
  },

  onEnd: (connection, ended) => (connection as Listener).once("end", ended),
};

function rowsOf<Row>(client: Listener, sql: string): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    client.query(sql, (error: Error | null, answer: { rows: Row[] }) => (error ? reject(error) : resolve(answer.rows)));
  });
}
