import { describe, expect, it } from "vitest";
import { engines } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { sessionsWith } from "../store/support.js";

const postgres = engines.find(({ name }) => name === "postgresql")!;

describe("sessions that write moments in a style of their own", () => {
  const outboxes = useOutboxes(postgres);

  it.each([
    ["SQL, DMY", "Asia/Jakarta"],
    ["German", "Asia/Jakarta"],
    ["Postgres, MDY", "Asia/Kolkata"],
  ])("drain a backlog claim by claim: %s, %s", async (style, zone) => {
    const setUp = [`set datestyle = '${style}'`, `set timezone = '${zone}'`];
    const outbox = outboxes.open({ knex: outboxes.database.newKnex!({ pool: sessionsWith(setUp) }), concurrency: 10 });
    const ran = new Set<number>();
    outbox.saveToOutbox((n: number) => void ran.add(n), { name: "note" });
    const note = outboxes.open().saveToOutbox((_n: number) => undefined, { name: "note" });
    await outboxes.knex.transaction(async (trx) => {
      // A delay: the process that saves them shall not run them.
      for (let n = 0; n < 1200; n++) await note.with({ trx, delay: 1 })(n);
    });
    expect(await outbox.relay()).toMatchObject({ published: 1200, failed: 0 });
    expect(ran.size).toBe(1200);
  });
});
