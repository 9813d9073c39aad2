import type { Knex } from "knex";
import { beforeEach, expect, it } from "vitest";
import { currentCall, type Outbox, type OutboxOptions } from "../../src/index.js";
import type { TestDatabase } from "../support/databases.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const TEXT = "é 漢 😀";
const INTEGERS = new Set(["TINY", "SHORT", "LONG", "INT24", "LONGLONG"]);

interface Field {
  type: string;
  string(): string | null;
}

const typeCast = (field: Field, next: () => unknown) => (INTEGERS.has(field.type) ? field.string() : next());

/** The settings of mysql2 that an application may have, and that change what is sent or what comes back. */
const SETTINGS: [string, object][] = [
  ["another character set", { charset: "latin1" }],
  ["integers as text, by a typeCast", { typeCast }],
  ["integers as text, as big numbers", { supportBigNumbers: true, bigNumberStrings: true }],
];

function withSettings(database: TestDatabase, settings: object): Knex {
  const { hostname, port, username, password, pathname } = new URL(database.connection!.url);
  const address = { host: hostname, port: Number(port), user: username, password, database: pathname.slice(1) };
  return database.newKnex!({ connection: { ...address, ...settings } as Knex.MySql2ConnectionConfig });
}

describeEachServer("an application's connection", (engine) => {
  if (engine.dialect !== "mysql2") {
    it.skip("has no such settings here");
    return;
  }
  const outboxes = useOutboxes(engine);
  let ran: unknown[];
  let fails: boolean;
  beforeEach(() => {
    ran = [];
    fails = false;
  });
  const act = async (key: string, n: number) => {
    ran.push([key, n, currentCall()!.headers]);
    if (fails && key.startsWith("bad")) throw new Error(`boom ${TEXT}`);
  };
  const left = async () => (await outboxes.rows()).length;
  const relayAll = (outbox: Outbox) =>
    until("all ran", async () => {
      await outbox.relay();
      return (await left()) === 0;
    });

  const OWN: [string, Partial<OutboxOptions>][] = [
    ["connections of the outbox's own", {}],
    ["the application's alone", { ownConnections: 0 }],
  ];
  for (const [what, settings] of SETTINGS) {
    // What the application's own connection reads, the server has converted already.
    for (const [whose, options] of "charset" in settings ? OWN.slice(0, 1) : OWN) {
      const open = (more: Partial<OutboxOptions> = {}) => {
        const knex = withSettings(outboxes.database, settings);
        return outboxes.open({ knex, retry: { initialDelay: 0, jitter: 0 }, ...options, ...more });
      };

      it(`with ${what}, over ${whose}: migrates`, async () => {
        const outbox = open({ tablePrefix: `${outboxes.tablePrefix}new_` });
        await outbox.migrate();
        await outbox.migrate();
        const send = outbox.saveToOutbox(act, { name: "send" });
        await outbox.transaction(() => send("a", 1));
        await outbox.idle();
        expect(ran).toEqual([["a", 1, {}]]);
      });

      it(`with ${what}, over ${whose}: publish-on-commit, by the commit and by the relay`, async () => {
        const outbox = open();
        const send = outbox.saveToOutbox(act, { name: "send" });
        const headers = { tenant: TEXT };
        await outbox.transaction(() => send.with({ headers })(TEXT, 1));
        await outbox.idle();
        await outbox.transaction(() => send.with({ headers, delay: 1 })(TEXT, 2));
        await relayAll(outbox);
        fails = true;
        await outbox.transaction(() => send(`bad ${TEXT}`, 3));
        await outbox.idle();
        expect(await outboxes.rows()).toMatchObject([
          { state: "pending", attempts: 1, lastError: expect.stringContaining("boom ") as string },
        ]);
        fails = false;
        await relayAll(outbox);
        const bad = [`bad ${TEXT}`, 3, {}];
        expect(ran).toEqual([[TEXT, 1, headers], [TEXT, 2, headers], bad, bad]); // prettier-ignore
      });

      it(`with ${what}, over ${whose}: keep-order, where a failing head blocks its key and recovers`, async () => {
        const outbox = open();
        const publish = outbox.saveToOutbox(act, {
          name: "publish",
          strategy: "keep-order",
          orderingKey: (key) => key,
        });
        const headers = { tenant: TEXT };
        fails = true;
        await outbox.transaction(async () => {
          for (const n of [1, 2, 3]) for (const key of ["bad", TEXT]) await publish.with({ headers })(key, n);
        });
        const ofKey = (wanted: string) => ran.flatMap((run) => ((run as string[])[0] === wanted ? [run] : []));
        expect(await outbox.relay()).toMatchObject({ published: 3, blocked: [{ orderingKey: "bad" }] });
        const all = (key: string) => [1, 2, 3].map((n) => [key, n, headers]);
        expect(ofKey(TEXT)).toEqual(all(TEXT));
        const attempts = ofKey("bad").length;
        expect((await outboxes.rows())[0]).toMatchObject({ key: "bad", state: "held", attempts });
        expect(await outbox.calls.list()).toMatchObject([{ attempts }, { attempts: 0 }, { attempts: 0 }]);
        fails = false;
        await relayAll(outbox);
        expect(ofKey("bad").slice(attempts)).toEqual(all("bad"));
        expect(await outboxes.table("keys")).toEqual([]);
      });
    }
  }
});
