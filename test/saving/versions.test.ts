import { beforeEach, describe, expect, it } from "vitest";
import type { Outbox } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

describeEachEngine("a call is stored", (engine) => {
  const outboxes = useOutboxes(engine);
  let outbox: Outbox;
  let ran: unknown[];
  const note = async (what: unknown) => void ran.push(what);
  beforeEach(() => {
    outbox = outboxes.open();
    ran = [];
  });

  describe.each(["publish-on-commit", "keep-order"] as const)("by %s", (strategy) => {
    it("with a version, whose older shape is upcast, and whose newer one is left to others", async () => {
      const older = outboxes.open();
      const newer = outboxes.open();
      const seen: unknown[] = [];
      const unroutable: unknown[] = [];
      older.on("unroutable", ({ function: name }) => void unroutable.push(name));
      older.saveToOutbox(async (name: string) => void seen.push(["v1", name]), { name: "greet", strategy });
      const greet = newer.saveToOutbox(async (person: { name: string }) => void seen.push(["v3", person]), {
        name: "greet",
        strategy,
        version: 3,
        upcast: async ([name], fromVersion) => {
          seen.push(fromVersion);
          return [{ name: name as string }];
        },
      });
      const saveOlder = outbox.saveToOutbox(async (_name: string) => {}, { name: "greet", strategy });
      await outbox.close();
      await outboxes.knex.transaction((trx) => saveOlder.in(trx)("Ana"));
      await newer.relay();
      expect(seen.splice(0)).toEqual([1, ["v3", { name: "Ana" }]]);
      await outboxes.knex.transaction((trx) =>
        greet
          .in(trx)({ name: "Rui" })
          .then(() => undefined),
      );
      await newer.idle();
      if (strategy === "publish-on-commit") {
        expect(seen.splice(0)).toEqual([["v3", { name: "Rui" }]]);
        await newer.close();
        await outboxes.knex.transaction((trx) => greet.in(trx)({ name: "Rui" }));
      }
      expect(await older.relay()).toMatchObject({ published: 0, failed: 0, dead: 0, unroutable: 1 });
      expect(unroutable).toEqual(["greet"]);
      expect(await outboxes.rows()).toMatchObject([{ attempts: 0, lastError: null }]);
      expect(seen).toEqual([]);
    });

    it("with a version that cannot be upcast: the run fails, and the call stays", async () => {
      const newer = outboxes.open();
      const upcast = () => {
        throw new Error("no such shape");
      };
      newer.saveToOutbox(note, { name: "greet", strategy, version: 2, upcast });
      const saveOlder = outbox.saveToOutbox(note, { name: "greet", strategy });
      await outbox.close();
      await outboxes.knex.transaction((trx) => saveOlder.in(trx)("Ana"));
      expect(await newer.relay()).toMatchObject({ published: 0, failed: 1 });
      expect(await outboxes.rows()).toMatchObject([{ attempts: 1 }]);
      expect((await outboxes.rows())[0]!.lastError).toContain("no such shape");
      expect(ran).toEqual([]);
    });

    it("under an earlier name, which an alias runs", async () => {
      const renamed = outboxes.open();
      const published: unknown[] = [];
      renamed.on("published", ({ call }) => void published.push([call.function, ...call.args]));
      renamed.saveToOutbox(note, { name: "newName", aliases: ["older name", "oldName"], strategy });
      const save = outbox.saveToOutbox(note, { name: "oldName", strategy });
      await outbox.close();
      await outboxes.knex.transaction((trx) => save.in(trx)("Ana"));
      await renamed.relay();
      expect({ ran, published }).toEqual({ ran: ["Ana"], published: [["oldName", "Ana"]] });
      expect(await outboxes.rows()).toEqual([]);
    });

    it.each([true, false])("deleteAfterSend: %s, of the function before the outbox's", async (deleteAfterSend) => {
      const keeping = outboxes.open({ deleteAfterSend });
      const byOutbox = keeping.saveToOutbox(note, { name: "byOutbox", strategy });
      const own = keeping.saveToOutbox(note, { name: "own", strategy, deleteAfterSend: !deleteAfterSend });
      await keeping.transaction(async () => {
        await byOutbox("by outbox");
        await own("own");
      });
      await keeping.idle();
      await keeping.relay();
      expect(ran).toHaveLength(2);
      const kept = { functionName: deleteAfterSend ? "own" : "byOutbox", state: "sent", attempts: 1, isLeased: false };
      expect(await outboxes.rows()).toMatchObject([kept]);
      await keeping.idle();
      await keeping.relay();
      expect(ran).toHaveLength(2);
    });
  });
});
