import { randomUUID } from "node:crypto";
import type { Knex } from "knex";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createOutbox, type Outbox } from "../../src/index.js";
import { engines, type TestDatabase } from "../support/databases.js";
import { until } from "../support/waiting.js";

const postgres = engines.find(({ name }) => name === "postgresql")!;

describe.skipIf(postgres.skipReason !== undefined)("a database whose encoding lacks an error's characters", () => {
  const name = `carteiro_latin1_${randomUUID().slice(0, 8)}`;
  let server: TestDatabase;
  let knex: Knex;
  let outbox: Outbox;
  let ran: string[];
  let fails: boolean;
  beforeAll(async () => {
    server = await postgres.create();
    await server.knex.raw(`create database ?? encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0`, name);
    const address = new URL(server.connection!.url);
    address.pathname = `/${name}`;
    knex = server.newKnex!({ connection: address.href });
  });
  afterAll(async () => {
    await knex.destroy();
    await server.knex.raw("drop database ?? with (force)", name);
    await server.close();
  });
  beforeEach(async () => {
    ran = [];
    fails = true;
    outbox = createOutbox({ knex, lease: "1s", retry: { initialDelay: 0, jitter: 0 } });
    await outbox.migrate();
    await knex("carteiro_calls").delete();
    await knex("carteiro_keys").delete();
    return () => outbox.close();
  });
  const act = async (what: string) => {
    ran.push(what);
    if (fails && what.startsWith("bad")) throw new Error("boom 漢");
  };
  const stored = () =>
    knex("carteiro_calls").select("state", "attempts", "last_error as error").orderBy("seq") as Promise<
      { state: string; attempts: number; error: string }[]
    >;
  const boom = expect.stringContaining("boom ?") as string;

  it("does refuse them", async () => {
    await expect(knex.raw("select ?::text", ["漢"])).rejects.toMatchObject({ code: "22P05" });
  });

  it("lets a keep-order key block alone, counted, with what can be said of its error", async () => {
    const publish = outbox.saveToOutbox(act, {
      name: "publish",
      strategy: "keep-order",
      orderingKey: (what) => what.split(" ")[0]!,
    });
    await outbox.transaction(async () => {
      for (const n of [1, 2, 3]) {
        await publish(`bad ${n}`);
        await publish(`good ${n}`);
      }
    });
    const first = await outbox.relay();
    expect(first.failed).toBeGreaterThanOrEqual(1);
    expect(first).toMatchObject({ published: 3, dead: 0 });
    expect(ran.filter((what) => what.startsWith("good"))).toEqual(["good 1", "good 2", "good 3"]);
    await until("it was tried again", async () => (await outbox.relay()).failed >= 1);
    const attempts = ran.filter((what) => what.startsWith("bad"));
    expect(new Set(attempts)).toEqual(new Set(["bad 1"]));
    expect((await stored())[0]).toEqual({ state: "held", attempts: attempts.length, error: boom });
    expect(await stored()).toHaveLength(3);
    fails = false;
    await until("all ran", async () => {
      await outbox.relay();
      return (await stored()).length === 0;
    });
    expect(ran.slice(-3)).toEqual(["bad 1", "bad 2", "bad 3"]);
  });

  it("lets a publish-on-commit call die after its attempts", async () => {
    const send = outbox.saveToOutbox(act, { name: "send", retry: { initialDelay: 0, maxAttempts: 2 } });
    await outbox.transaction(() => send("bad"));
    await outbox.idle();
    await until("it was tried again", async () => (await outbox.relay()).dead === 1);
    expect(ran).toEqual(["bad", "bad"]);
    expect(await stored()).toEqual([{ state: "dead", attempts: 2, error: boom }]);
  });

  it("keeps a call that is stored on failure alone", async () => {
    const send = outbox.saveToOutbox(act, { name: "send", persist: "on-failure" });
    await outbox.transaction(() => send("bad"));
    await outbox.idle();
    expect(await stored()).toEqual([{ state: "pending", attempts: 1, error: boom }]);
  });
});
