import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { acquireStream, type StreamLease } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { databaseIn, LEASE_MS, untilWaiting, useStore } from "./support.js";

const DAY_MS = 24 * 60 * 60 * 1000;

describeEachEngine("the lease of a stream", (engine) => {
  const under = useStore(engine);
  const acquire = async (stream = "line") => (await under.store.acquireStream(stream)) as StreamLease;
  const leaseUntil = async (stream = "line") => {
    const [row] = await under.select<{ ms: number | string | null }>(
      `select ${under.dialect.epochMs("lease_until")} as ms from ${under.tables.streams} where stream = ?`,
      [stream],
    );
    return row!.ms === null ? null : Number(row!.ms);
  };

  test("is given to one, until it is released", async () => {
    const before = await under.store.readClock();
    const lease = await acquire();
    const after = await under.store.readClock();
    expect(lease).toEqual({ stream: "line", token: expect.any(String) as string, fence: 1, isTakenOver: false });
    expect(await leaseUntil()).toBeGreaterThanOrEqual(before + LEASE_MS);
    expect(await leaseUntil()).toBeLessThanOrEqual(after + LEASE_MS);
    expect(await under.store.acquireStream("line")).toBeUndefined();
    await under.store.releaseStream(lease);
    expect(await leaseUntil()).toBeNull();
    const next = await acquire();
    expect(next.fence).toBe(2);
    expect(next.token).not.toBe(lease.token);
    expect(await under.store.acquireStream("line")).toBeUndefined();
  });

  test("is one stream's alone, by its very name", async () => {
    const names = ["line", "Line", "líne", "line'", "line \\ ?", "🙂".repeat(200), "🙂".repeat(199)];
    const leases = [];
    for (const name of names) leases.push(await acquire(name));
    expect(leases.map(({ stream, fence }) => ({ stream, fence }))).toEqual(
      names.map((stream) => ({ stream, fence: 1 })),
    );
    for (const name of names) expect(await under.store.acquireStream(name)).toBeUndefined();
  });

  test("is taken over once it has ended, and its fence rises each time", async () => {
    const tokens = new Set<string>();
    for (let fence = 1; fence <= 4; fence++) {
      const lease = await acquire();
      expect(lease.fence).toBe(fence);
      tokens.add(lease.token);
      await under.expireStream("line");
    }
    expect(tokens.size).toBe(4);
  });

  test("is renewed by its holder, even after its end while nobody took it", async () => {
    const lease = await acquire();
    const longer = under.openAnother({ leaseMs: DAY_MS });
    expect(await longer.renewStream(lease)).toBe(true);
    expect(await leaseUntil()).toBeGreaterThan((await under.store.readClock()) + DAY_MS - LEASE_MS);
    await under.expireStream("line");
    expect(await longer.renewStream(lease)).toBe(true);
    expect(await under.store.acquireStream("line")).toBeUndefined();
  });

  test("is not renewed and not released by anybody else", async () => {
    const old = await acquire();
    await under.expireStream("line");
    const holder = await acquire();
    const until = await leaseUntil();
    const strangers = [old, { ...holder, token: randomUUID() }, { ...holder, stream: "Line" }];
    for (const stranger of strangers) {
      expect(await under.store.renewStream(stranger)).toBe(false);
      await under.store.releaseStream(stranger);
    }
    expect(await leaseUntil()).toBe(until);
    expect(await under.store.renewStream(holder)).toBe(true);
    await under.store.releaseStream(holder);
    expect(await under.store.renewStream(holder)).toBe(false);
  });

  test.skipIf(engine.name === "pglite")("is given to exactly one of many that ask at once", async () => {
    const stores = Array.from({ length: 6 }, () => under.openAnother({ knex: under.poolWith(), ownConnections: 1 }));
    for (let fence = 1; fence <= 12; fence++) {
      const leases = await Promise.all(stores.map((store) => store.acquireStream("line")));
      const given = leases.filter((lease) => lease !== undefined);
      expect(given).toMatchObject([{ fence }]);
      expect(await under.store.renewStream(given[0]!)).toBe(true);
      // Once it has ended, and once it was released.
      if (fence % 2 === 0) await under.expireStream("line");
      else await under.store.releaseStream(given[0]!);
    }
  });

  test.skipIf(engine.name === "pglite")(
    "is not given while a takeover has not committed, nor after it has",
    async () => {
      await acquire();
      await under.expireStream("line");
      const trx = await under.begin();
      const taken = await acquireStream(databaseIn(under, trx), "line", LEASE_MS);
      const acquiring = under.store.acquireStream("line");
      await untilWaiting(under);
      await trx.commit();
      expect(await acquiring).toBeUndefined();
      expect(await under.store.renewStream(taken!)).toBe(true);
    },
  );
});
