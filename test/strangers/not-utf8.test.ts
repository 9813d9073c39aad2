import { beforeEach, expect, it } from "vitest";
import type { Outbox } from "../../src/index.js";
import { sessionsWith } from "../store/support.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";

/** `{"json":["` and a byte that begins nothing in UTF-8. */
const BROKEN = `${Buffer.from('{"json":["').toString("hex")}ff225d7d`;

describeEachServer("a payload that is no UTF-8", (engine) => {
  const outboxes = useOutboxes(engine);
  let outbox: Outbox;
  let ran: string[];
  let ids: string[];
  beforeEach(async () => {
    [ran, ids] = [[], []];
    outbox = outboxes.open({ signing: { keys: ["a key of thirty-two bytes or more"] } });
    const note = outbox.saveToOutbox(async (text: string) => void ran.push(text), { name: "note" });
    await outboxes.knex.transaction(async (trx) => {
      for (const text of ["first", "second"]) ids.push((await note.with({ trx, delay: "1h" })(text)).id);
    });
    await outboxes.table("calls").update({ due_at: outboxes.knex.raw(outboxes.dialect.now) });
  });

  const isPostgres = engine.dialect === "pg";
  const breakIt = (knex = outboxes.knex) => {
    const text = isPostgres ? "convert_from(decode(?, 'hex'), 'UTF8')" : "unhex(?)";
    return knex.raw(`update ${outboxes.tablePrefix}calls set payload = ${text} where id = ?`, [BROKEN, ids[0]!]);
  };

  it("is refused by the database, and the call runs as it was stored", async () => {
    await expect(breakIt()).rejects.toThrow(isPostgres ? /invalid byte sequence/ : /Incorrect string value/);
    expect(await outbox.relay()).toMatchObject({ published: 2, failed: 0 });
    expect(ran.sort()).toEqual(["first", "second"]);
  });

  it.skipIf(isPostgres)(
    "is mangled by a session that is not strict (MariaDB puts a ? there, MySQL cuts): signed, the call is refused alone",
    async () => {
      await breakIt(outboxes.database.newKnex!({ pool: sessionsWith(["set session sql_mode = ''"]) }));
      expect(await outbox.relay()).toMatchObject({ published: 1, failed: 1 });
      expect(ran).toEqual(["second"]);
      expect(await outboxes.rows()).toMatchObject([
        { id: ids[0], lastError: expect.stringMatching(/SignatureError: .* does not match its signature/) as unknown },
      ]);
    },
  );
});
