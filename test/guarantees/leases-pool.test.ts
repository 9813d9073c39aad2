import type { Knex } from "knex";
import { expect, it } from "vitest";
import type { Outbox } from "../../src/index.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";
import { rivalOf } from "./lease-rival.js";

const LEASE_MS = 1000;
const POOL_SIZE = 3;

const STRATEGIES = [
  { strategy: "publish-on-commit", name: "send" },
  { strategy: "keep-order", name: "publish" },
] as const;

describeEachServer("an application whose transactions hold its whole pool for longer than the lease", (engine) => {
  const outboxes = useOutboxes(engine);

  /** An application with a small pool, and an outbox that is running a1 of two calls. */
  async function open(name: "send" | "publish") {
    const pool = outboxes.database.newKnex!({ pool: { min: 0, max: POOL_SIZE } });
    const outbox = outboxes.open({ knex: pool, lease: LEASE_MS, concurrency: 1 });
    const [started, finish] = [deferred(), gate()];
    const told: string[] = [];
    for (const event of ["published", "failed", "leaseLost"] as const) {
      outbox.on(event, ({ call }) => void told.push(`${event} ${String(call?.args[0])}`));
    }
    const run = async (label: string) => {
      started.resolve();
      if (label === "a1") await finish.promise;
    };
    const orders = { strategy: "keep-order", stream: "orders", orderingKey: (label: string) => label } as const;
    const saved = {
      send: outbox.saveToOutbox(run, { name: "send" }),
      publish: outbox.saveToOutbox(run, { name: "publish", ...orders, orderingKey: (label) => label.slice(0, 1) }),
    }[name];
    await outbox.transaction(async () => {
      for (const label of ["a1", "a2"]) await saved(label);
    });
    const relaying = name === "publish" ? outbox.relay() : undefined;
    await started.promise;
    return { pool, outbox, saved, finish, told, relaying };
  }

  const isExhausted = (pool: Knex) => (pool.client as { pool: { numUsed(): number } }).pool.numUsed() === POOL_SIZE;

  const leaseEnd = async (name: "send" | "publish", observer: Outbox) =>
    name === "publish" ? outboxes.streamLeaseEnd() : (await observer.calls.list())[0]!.dueAt.getTime();

  for (const { strategy, name } of STRATEGIES) {
    it(`has its leases renewed and its runs settled all the same [${strategy}]`, async () => {
      const { pool, outbox, saved, finish, told, relaying } = await open(name);
      const rival = rivalOf(outboxes.openRival({ lease: LEASE_MS }));
      rival.letGo.resolve();
      // Each has saved a call, and holds what a writer of its key holds until it commits.
      const held = await Promise.all(Array.from({ length: POOL_SIZE }, () => pool.transaction()));
      const keys = name === "publish" ? ["b", "c", "d"] : ["b"];
      for (const [index, trx] of held.entries()) await saved.in(trx)(`${keys[index % keys.length]}${index}`);
      expect(isExhausted(pool)).toBe(true);
      const firstEnd = await leaseEnd(name, rival.outbox);
      await until("the lease was held twice as long as it is", async () => {
        expect(await rival.outbox.relay()).toMatchObject(
          name === "publish" ? { published: 0 } : { published: expect.any(Number) as number },
        );
        return (await leaseEnd(name, rival.outbox)) > firstEnd + LEASE_MS;
      });
      expect(rival.ran.map(({ label }) => label)).not.toContain("a1");
      finish.resolve();
      await outbox.idle();
      await relaying;
      expect(await outboxes.rows()).toEqual([]);
      expect(isExhausted(pool)).toBe(true);
      await Promise.all(held.map((trx) => trx.rollback()));
      expect(told).toContain("published a1");
      expect(told.filter((line) => !line.startsWith("published"))).toEqual([]);
    });
  }

  it("has its leases renewed while every connection is in the middle of a slow statement", async () => {
    const { pool, outbox, finish, told } = await open("send");
    await outboxes.knex.schema.createTable("stock", (table) => table.integer("id").primary());
    await outboxes.knex("stock").insert({ id: 1 });
    const owner = await outboxes.knex.transaction();
    await owner("stock").where({ id: 1 }).forUpdate();
    const slow = Array.from({ length: POOL_SIZE }, () =>
      pool.transaction<unknown>((trx) => trx("stock").where({ id: 1 }).forUpdate().first()),
    );
    await until("the pool is exhausted", () => isExhausted(pool));
    const observer = outboxes.openRival();
    const firstEnd = await leaseEnd("send", observer);
    await until("the lease was held twice as long as it is", async () => {
      return (await leaseEnd("send", observer)) > firstEnd + LEASE_MS;
    });
    finish.resolve();
    await outbox.idle();
    expect(told).toEqual(["published a1", "published a2"]);
    expect(isExhausted(pool)).toBe(true);
    await owner.rollback();
    await Promise.all(slow);
  });
});
