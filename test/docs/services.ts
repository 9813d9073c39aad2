import knex, { type Knex } from "knex";
import { afterEach } from "vitest";
import { createOutbox, type Outbox, type OutboxOptions } from "../../src/index.js";

/** Outboxes on pools of their own, each with a function of either strategy; closed when the test ends. */
export function useServices() {
  const opened: { outbox: Outbox; db: Knex }[] = [];
  afterEach(async () => {
    for (const { outbox, db } of opened.splice(0)) {
      await outbox.close();
      await db.destroy();
    }
  });

  /** @param isDown whether a run fails, given what ran before it */
  return (
    connection: Knex.Config,
    options: Partial<OutboxOptions> = {},
    isDown: (what: string, ran: readonly string[]) => boolean = () => false,
  ) => {
    const db = knex(connection);
    const outbox = createOutbox({ knex: db, pollInterval: 50, retry: { initialDelay: 1 }, ...options });
    opened.push({ outbox, db });
    const ran: string[] = [];
    const run = (what: string) => {
      if (isDown(what, ran)) throw new Error("down");
      ran.push(what);
    };
    const send = outbox.saveToOutbox((n: number) => run(`send${n}`), { name: "send" });
    const publish = outbox.saveToOutbox((key: string, n: number) => run(`${key}${n}`), {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    return { outbox, db, ran, send, publish };
  };
}
