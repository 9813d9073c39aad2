import { expect, it } from "vitest";
import type { Database } from "../../src/store/database.js";
import { openDatabase } from "../../src/store/own-connections.js";
import { parkKey } from "../../src/store/operate-streams.js";
import { readConfirmation } from "../../src/store/stream-changes.js";
import { describeEachEngine } from "../support/databases.js";
import { useStore } from "../store/support.js";

describeEachEngine("a person's change, while the lease of a holder that does not answer ends", (engine) => {
  const under = useStore(engine);

  it("is not taken for confirmed as long as the holder could renew its lease, and go on with what it had read", async () => {
    const { knex, tables, store } = under;
    const lease = (await store.acquireStream("line"))!;
    const db = openDatabase(knex, 0, tables);
    // Ends in the very moment in which somebody looks for the answer.
    const ending: Database = {
      ...db,
      async query<Row>(...[sql, bindings]: Parameters<Database["query"]>) {
        if (/^\s*select/.test(sql)) await under.expireStream("line");
        return db.query<Row>(sql, bindings);
      },
    };
    const epoch = await parkKey(db, "line", Buffer.from("a"));
    expect(await readConfirmation(ending, "line", epoch)).toBeUndefined();
    expect(await readConfirmation(db, "line", epoch)).toEqual([]);
    expect(await store.renewStream(lease)).toBe(false);
    expect(await store.acquireStream("line")).toMatchObject({ isTakenOver: true });
  });
});
