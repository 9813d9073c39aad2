import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OutboxOptions } from "../../src/index.js";
import { findMysql, mysqlMissing, queryMysql, startMysql } from "../support/servers/mysql.js";
import { findPostgres, postgresMissing, queryPostgres, startPostgres } from "../support/servers/postgres.js";
import type { TestServer } from "../support/servers/types.js";
import { until } from "../support/waiting.js";
import { readPage, sectionOf } from "./markdown.js";
import { useServices } from "./services.js";

const page = readPage("docs/operations.md");
/** Accounts belong to a server, not to a database: each system has one of its own here. */
const systems = [
  {
    name: "PostgreSQL",
    client: "pg",
    missing: findPostgres() === undefined ? postgresMissing : undefined,
    start: startPostgres,
    query: queryPostgres,
    grants: "Grants on PostgreSQL",
    vacuum: "PostgreSQL",
    /** Who gives the grants on the tables. */
    granter: "outbox_owner",
    databases: { shop: "shop", shop_relay: "shop", outbox_owner: "shop" },
    orders: "public.orders",
    refused: /permission denied|must be owner/,
  },
  {
    name: "MySQL and MariaDB",
    client: "mysql2",
    missing: findMysql() === undefined ? mysqlMissing : undefined,
    start: startMysql,
    query: queryMysql,
    grants: "Grants on MySQL and MariaDB",
    vacuum: "MySQL and MariaDB",
    granter: undefined,
    databases: { shop: "shop", shop_relay: "outbox", outbox_owner: "outbox" },
    orders: "shop.orders",
    refused: /denied/,
  },
] as const;

for (const { missing } of systems) {
  if (missing && process.env.CI) throw new Error(`CI is set, so nothing may be missing. ${missing}`);
  if (missing) console.warn(`${missing} The tests of its grants are skipped.`);
}
const installed = systems.filter(({ missing }) => missing === undefined);

describe.each(installed)("the grants on $name in docs/operations.md", (system) => {
  const [first, afterMigrating] = sectionOf(page, system.grants).fences.map(({ code }) => statementsOf(code));
  const openService = useServices();
  let server: TestServer;

  const addressOf = (account?: keyof typeof system.databases) => {
    const url = new URL(server.url);
    url.pathname = account === undefined ? "/shop" : system.databases[account];
    if (account !== undefined) [url.username, url.password] = [account, "change-me"];
    return url.href;
  };
  const sendAll = async (statements: readonly string[], account?: keyof typeof system.databases) => {
    for (const statement of statements) await system.query(addressOf(account), statement);
  };
  const open = (account: keyof typeof system.databases, options: Partial<OutboxOptions> = {}) => {
    let isDown = false;
    const service = openService(
      { client: system.client, connection: addressOf(account) },
      { schema: "outbox", retry: { initialDelay: 0 }, ...options },
      () => isDown,
    );
    return { ...service, breakDown: (value: boolean) => void (isDown = value) };
  };

  beforeAll(async () => {
    server = await system.start();
    await system.query(server.url, "create database shop");
    await sendAll(first!);
    const { outbox } = open("outbox_owner");
    await outbox.migrate();
    await sendAll(afterMigrating!, system.granter);
    await sendAll([`create table ${system.orders} (id integer)`, `grant select, insert on ${system.orders} to shop`]);
  }, 120_000);
  afterAll(() => server.stop("immediate"));

  it("let the service save calls with its own rows, run them after the commit, and ask for migrations", async () => {
    const { outbox, ran, send, publish } = open("shop");
    await outbox.migrate();
    await outbox.transaction(async (trx) => {
      await trx("orders").insert({ id: 1 });
      await send(1);
      await publish("ana", 1);
    });
    await outbox.idle();
    expect(ran).toEqual(["send1"]);
  });

  it("let a relay run what failed and what keeps order, clean, and operate", async () => {
    const service = open("shop", { deleteAfterSend: false });
    service.breakDown(true);
    await service.outbox.transaction(async () => {
      await service.send(2);
      await service.publish("bob", 1);
      await service.publish("bob", 2);
    });
    await service.outbox.idle();
    const { outbox, ran, breakDown } = open("shop_relay", { deleteAfterSend: false });
    await outbox.migrate();
    breakDown(true);
    expect(await outbox.relay()).toMatchObject({ published: 0 });
    const key = { stream: "orders", orderingKey: "bob" };
    const [status] = (await outbox.streams.list()).filter(({ stream }) => stream === "orders");
    expect(status).toMatchObject({ blockedKeys: 2, blockedHead: { attempts: 1 } });
    expect(await outbox.keys.retryHead(key)).toBeDefined();
    await outbox.keys.park(key);
    expect(await outbox.keys.resume(key)).toEqual({ resumed: true });
    const skipped = await outbox.keys.skipHead(key, { reason: "the test says so" });
    expect(await outbox.calls.get(skipped!.id, { args: true })).toMatchObject({ state: "dead", args: ["bob", 1] });
    expect(await outbox.streams.pause("orders")).toEqual({ running: 0 });
    expect(await outbox.streams.resume("orders")).toEqual({ resumed: true });
    expect(await outbox.calls.retry({ state: "dead" })).toEqual({ retried: 1 });
    expect(await outbox.check({ maxSize: 0 })).toEqual(
      expect.arrayContaining([expect.objectContaining({ stream: "orders" })]),
    );
    breakDown(false);
    await until("all ran", async () => {
      await outbox.relay();
      return ["send2", "bob2"].every((what) => ran.includes(what));
    });
    expect(ran.filter((what) => what.startsWith("bob"))).toEqual(["bob1", "bob2"]);
    expect((await outbox.clean({ olderThan: 0 })).deleted).toBeGreaterThan(0);
    const discarded = await outbox.calls.discard({ olderThan: 0 });
    expect(discarded.running).toBe(0);
  });

  it("let nobody do more", async () => {
    const refused = async (account: keyof typeof system.databases, statement: string) => {
      const answer = await system.query(addressOf(account), statement).then(
        () => "done",
        (error: unknown) => String(error),
      );
      return system.refused.test(answer) ? [] : [`${account}: ${statement}: ${answer}`];
    };
    const cases = [
      ["shop", "drop table outbox.carteiro_calls"],
      ["shop", "alter table outbox.carteiro_calls add column mine integer"],
      ["shop", "create table outbox.mine (id integer)"],
      ["shop", "update outbox.carteiro_streams set fence = 0"],
      ["shop", "delete from outbox.carteiro_keys"],
      ["shop", "insert into outbox.carteiro_migrations (version) values (99)"],
      ["shop_relay", "insert into outbox.carteiro_calls (stream) values ('orders')"],
      ["shop_relay", "truncate table outbox.carteiro_calls"],
      ["shop_relay", "delete from outbox.carteiro_streams"],
      ["shop_relay", "update outbox.carteiro_migrations set version = 99"],
      ["shop_relay", `select id from ${system.orders}`],
      ["outbox_owner", `select id from ${system.orders}`],
      ["outbox_owner", `create table ${system.orders}_too (id integer)`],
    ] as const;
    const done: string[] = [];
    for (const [account, statement] of cases) done.push(...(await refused(account, statement)));
    expect(done).toEqual([]);
  });

  it("keep the service from relaying and from operating, with the database's own error", async () => {
    const { outbox, ran, publish } = open("shop");
    await outbox.transaction(() => publish("eva", 1));
    await expect(outbox.relay()).rejects.toThrow(system.refused);
    await expect(outbox.streams.pause("orders")).rejects.toThrow(system.refused);
    await expect(outbox.calls.list()).rejects.toThrow(system.refused);
    expect(ran).toEqual([]);
  });

  it("come with statements on bloat that can be run", async () => {
    const blocks = sectionOf(page, system.vacuum).fences.filter(({ language }) => language === "sql");
    expect(blocks.length).toBeGreaterThan(0);
    const { db } = openService({ client: system.client, connection: addressOf(), pool: { min: 0, max: 1 } });
    await db.raw(system.client === "pg" ? "set search_path to outbox" : "use outbox");
    for (const statement of blocks.flatMap(({ code }) => statementsOf(code))) await db.raw(statement);
  });
});

function statementsOf(code: string): string[] {
  return code
    .replace(/--.*$/gm, "")
    .split(";")
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
}
