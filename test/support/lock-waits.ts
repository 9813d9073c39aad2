/** Asks on whatever connection the test has. */
export type Ask = <Row extends object>(sql: string) => Promise<Row[]>;

/**
 * The sessions of the current database that wait for a lock of another one.
 *
 * Of InnoDB this is read from its monitor: information_schema.innodb_trx shows what was true when nobody had read it for
 * 0.1 s, so that who looks every few milliseconds, or two who look at once, never see it change.
 */
export async function sessionsAwaitingLocks(family: "postgres" | "mysql", ask: Ask): Promise<number[]> {
  if (family === "postgres") {
    const rows = await ask<{ id: number }>(
      "select pid as id from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    return rows.map(({ id }) => id);
  }
  const [monitor] = await ask<{ Status: string }>("show engine innodb status");
  const waiting = monitor!.Status.split("\n---TRANSACTION ").filter((transaction) => /^LOCK WAIT /m.test(transaction));
  const sessions = await ask<{ id: number }>(
    "select id as id from information_schema.processlist where db = database()",
  );
  const ofDatabase = new Set(sessions.map(({ id }) => id));
  return waiting
    .map((transaction) => Number(/^(?:MariaDB|MySQL) thread id (\d+)/m.exec(transaction)?.[1]))
    .filter((id) => ofDatabase.has(id));
}
