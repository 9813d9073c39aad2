import { expect, test } from "vitest";
import { claimDue, releaseCalls, renewCalls } from "../../src/store/claim-calls.js";
import type { CallLease } from "../../src/store/dialect.js";
import { acquireStream, releaseStream, renewStream, type StreamLease } from "../../src/store/serve-stream.js";
import { type Settled, settleCalls } from "../../src/store/settle-calls.js";
import type { Store } from "../../src/store/store.js";
import {
  aCall,
  databaseIn,
  describeSome,
  insert,
  LEASE_MS,
  type Row,
  untilWaiting,
  useStore,
} from "../store/support.js";

type Sender = Pick<
  Store,
  "claimDue" | "renewCalls" | "releaseCalls" | "settleCalls" | "acquireStream" | "renewStream" | "releaseStream"
>;

/** What the holder of an ended lease may still send. */
interface Late {
  what: string;
  /** @returns how many of the calls it was told that it still holds, or has settled; a release is told nothing */
  send(to: Sender, leases: readonly CallLease[]): Promise<number | undefined>;
  /** What the calls are once it has had its way. */
  becomes: Partial<Row> | undefined;
  /** They may be claimed at once then. */
  isClaimable: boolean;
}

const settles = (what: string, settled: Settled, becomes: Late["becomes"], isClaimable = false): Late => ({
  what: `a settle (${what})`,
  async send(to, leases) {
    const lost = await to.settleCalls(leases.map((lease) => ({ lease, settled })));
    return leases.length - lost.length;
  },
  becomes,
  isClaimable,
});

const LATE: Late[] = [
  settles("deleted", { state: "deleted" }, undefined),
  settles("sent", { state: "sent", attempts: 7 }, { state: "sent", attempts: 7, leaseToken: null }),
  settles(
    "retry",
    { state: "pending", attempts: 7, delayMs: 0, error: "late" },
    { state: "pending", attempts: 7, lastError: "late", leaseToken: null },
    true,
  ),
  settles("dead", { state: "dead", attempts: 7, error: "late" }, { state: "dead", attempts: 7, lastError: "late" }),
  {
    what: "a renewal",
    send: async (to, leases) => (await to.renewCalls(leases)).length,
    becomes: { state: "pending", attempts: 0, fence: 1 },
    isClaimable: false,
  },
  {
    what: "a release",
    async send(to, leases) {
      await to.releaseCalls(leases, 0);
      return undefined;
    },
    becomes: { state: "pending", attempts: 0, leaseToken: null },
    isClaimable: true,
  },
];

const CASES = LATE.map((late) => [late.what, late] as const);

const COUNT = 3;

describeSome("an old token against a takeover in the same instant", (engine) => {
  const under = useStore(engine);

  /** A transaction of the test's, and the store's statements in it. */
  async function beginStore() {
    const trx = await under.begin();
    const db = databaseIn(under, trx);
    const sender: Sender = {
      claimDue: (stream, limit) => claimDue(db, stream, limit, LEASE_MS),
      renewCalls: (leases) => renewCalls(db, leases, LEASE_MS),
      releaseCalls: (leases, delayMs) => releaseCalls(db, leases, delayMs),
      settleCalls: (settlements) => settleCalls(db, settlements),
      acquireStream: (stream) => acquireStream(db, stream, LEASE_MS),
      renewStream: (lease) => renewStream(db, lease, LEASE_MS),
      releaseStream: (lease) => releaseStream(db, lease),
    };
    return { trx, sender };
  }

  calls();
  streams();

  function calls() {
    const takeOver = (on: Sender) => on.claimDue("default", COUNT);

    /** Calls whose leases have ended, and which nobody has taken over. */
    async function expired() {
      await insert(
        under,
        Array.from({ length: COUNT }, () => aCall()),
      );
      const old = (await under.store.claimDue("default", COUNT)).map(({ lease }) => lease);
      await under.expireCalls(old.map(({ seq }) => seq));
      return old;
    }

    const everyRow = (row: Partial<Row> | undefined) => (row ? Array.from({ length: COUNT }, () => row) : []);

    test.each(CASES)("%s that waits for a takeover changes nothing once that commits", async (_what, { send }) => {
      const old = await expired();
      const { trx, sender } = await beginStore();
      const taken = await takeOver(sender);
      const sending = send(under.store, old);
      await untilWaiting(under);
      await trx.commit();
      const before = await under.rows();
      expect((await sending) ?? 0).toBe(0);
      expect(await under.rows()).toEqual(before);
      expect(new Map(before.map(({ seq, leaseToken }) => [seq, leaseToken]))).toEqual(
        new Map(taken.map(({ lease }) => [lease.seq, lease.token])),
      );
      expect(before).toMatchObject(everyRow({ state: "pending", attempts: 0, fence: 2, lastError: null }));
    });

    test.each(CASES)(
      "%s that waits for a takeover has its way once that rolls back",
      async (_what, { send, becomes }) => {
        const old = await expired();
        const { trx, sender } = await beginStore();
        expect(await takeOver(sender)).toHaveLength(COUNT);
        const sending = send(under.store, old);
        await untilWaiting(under);
        await trx.rollback();
        expect((await sending) ?? COUNT).toBe(COUNT);
        expect(await under.rows()).toMatchObject(everyRow(becomes && { ...becomes, fence: 1 }));
      },
    );

    test.each(CASES)(
      "a takeover meets %s on its way, and takes only what that leaves it",
      async (_what, { send, becomes, isClaimable }) => {
        const old = await expired();
        const { trx, sender } = await beginStore();
        expect((await send(sender, old)) ?? COUNT).toBe(COUNT);
        // It passes over what is locked.
        expect(await takeOver(under.store)).toEqual([]);
        await trx.commit();
        const taken = await takeOver(under.store);
        expect(taken).toHaveLength(isClaimable ? COUNT : 0);
        const { leaseToken: _, ...left } = becomes ?? {};
        expect(await under.rows()).toMatchObject(everyRow(becomes && { ...left, fence: isClaimable ? 2 : 1 }));
      },
    );

    test.each(CASES)(`a takeover takes all of what %s left that rolled back`, async (_what, { send }) => {
      const old = await expired();
      const { trx, sender } = await beginStore();
      await send(sender, old);
      expect(await takeOver(under.store)).toEqual([]);
      await trx.rollback();
      const taken = await takeOver(under.store);
      expect(taken).toHaveLength(COUNT);
      expect(await under.rows()).toMatchObject(everyRow({ state: "pending", attempts: 0, fence: 2, lastError: null }));
      expect((await send(under.store, old)) ?? 0).toBe(0);
    });
  }

  function streams() {
    const streamRow = () => under.knex("carteiro_streams").where({ stream: "line" }).first("lease_token", "fence");

    /** A lease that has ended, and that nobody has taken over. */
    async function expired(): Promise<StreamLease> {
      const old = await under.store.acquireStream("line");
      await under.expireStream("line");
      return old!;
    }

    test.each(["commits", "rolls back"])("a stream's renewal that waits for a takeover that %s", async (how) => {
      const old = await expired();
      const { trx, sender } = await beginStore();
      const taken = (await sender.acquireStream("line"))!;
      const renewing = under.store.renewStream(old);
      await untilWaiting(under);
      await (how === "commits" ? trx.commit() : trx.rollback());
      expect(await renewing).toBe(how === "rolls back");
      const holder = how === "commits" ? taken : old;
      expect(await streamRow()).toMatchObject({ lease_token: holder.token });
      expect(await under.store.acquireStream("line")).toBeUndefined();
    });

    test.each(["commits", "rolls back"])("a stream's release that waits for a takeover that %s", async (how) => {
      const old = await expired();
      const { trx, sender } = await beginStore();
      const taken = (await sender.acquireStream("line"))!;
      const releasing = under.store.releaseStream(old);
      await untilWaiting(under);
      await (how === "commits" ? trx.commit() : trx.rollback());
      await releasing;
      expect(await streamRow()).toMatchObject({ lease_token: how === "commits" ? taken.token : null });
    });

    test.each([
      ["renewal", "commits", undefined],
      ["renewal", "rolls back", 2],
      ["release", "commits", 2],
      ["release", "rolls back", 2],
      ["takeover", "commits", undefined],
      ["takeover", "rolls back", 2],
    ] as const)("a stream's takeover that waits for a %s that %s", async (what, how, fence) => {
      const old = await expired();
      const { trx, sender } = await beginStore();
      if (what === "renewal") expect(await sender.renewStream(old)).toBe(true);
      else if (what === "release") await sender.releaseStream(old);
      else expect(await sender.acquireStream("line")).toMatchObject({ fence: 2 });
      const acquiring = under.store.acquireStream("line");
      await untilWaiting(under);
      await (how === "commits" ? trx.commit() : trx.rollback());
      expect((await acquiring)?.fence).toBe(fence);
    });
  }
});
