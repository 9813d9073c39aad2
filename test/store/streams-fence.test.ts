import { expect, test } from "vitest";
import { acquireStream, settleStream, type StreamLease, type StreamSettlement } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { databaseIn, inLine, insert, LEASE_MS, type Row, untilWaiting, useStore } from "./support.js";

const KEY = Buffer.from("a");

/** What an old holder may want to write, of the three calls `a1`, `a2` (held behind a key's row) and `b`. */
const SETTLEMENTS: Record<string, (rows: { held: Row; behind: Row; other: Row }) => StreamSettlement[]> = {
  delete: ({ other }) => [{ kind: "delete", seq: other.seq }],
  "mark-sent": ({ other }) => [{ kind: "mark-sent", seq: other.seq }],
  hold: ({ other }) => [
    { kind: "hold", state: "blocked", due: { inMs: 0 }, head: { seq: other.seq, attempts: 9, error: "late" } },
  ],
  "set-aside": ({ behind, other }) => [{ kind: "set-aside", seqs: [behind.seq, other.seq] }],
  release: ({ held }) => [
    { kind: "delete", seq: held.seq },
    { kind: "release", key: KEY },
  ],
  "all at once": ({ held, behind, other }) => [
    { kind: "delete", seq: held.seq },
    { kind: "set-aside", seqs: [behind.seq] },
    { kind: "mark-sent", seq: other.seq },
    { kind: "release", key: KEY },
  ],
};

describeEachEngine("the fence of a stream's lease", (engine) => {
  const under = useStore(engine);

  async function prepare() {
    const lease = (await under.store.acquireStream("line")) as StreamLease;
    await insert(under, [inLine(KEY), inLine(KEY), inLine("b")]);
    const [head] = (await under.rows()) as [Row];
    const held = { seq: head.seq, attempts: 1, error: "down" };
    await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: 0 }, head: held }]);
    const [first, behind, other] = (await under.rows()) as [Row, Row, Row];
    return { lease, rows: { held: first, behind, other }, before: await everything() };
  }

  const everything = async () => ({ calls: await under.rows(), keys: await under.keys() });

  test.each(Object.entries(SETTLEMENTS))("an old token settles nothing: %s", async (_, settlementsOf) => {
    const { lease, rows, before } = await prepare();
    await under.expireStream("line");
    const holder = (await under.store.acquireStream("line")) as StreamLease;
    expect(await under.store.settleStream(lease, settlementsOf(rows))).toBe(false);
    expect(await everything()).toEqual(before);
    // The same by the holder changes something: the check above can fail.
    expect(await under.store.settleStream(holder, settlementsOf(rows))).toBe(true);
    expect(await everything()).not.toEqual(before);
  });

  test.each(Object.entries(SETTLEMENTS))("a released lease settles nothing: %s", async (_, settlementsOf) => {
    const { lease, rows, before } = await prepare();
    await under.store.releaseStream(lease);
    expect(await under.store.settleStream(lease, settlementsOf(rows))).toBe(false);
    expect(await everything()).toEqual(before);
  });

  test("an ended lease that nobody took settles", async () => {
    const { lease, rows } = await prepare();
    await under.expireStream("line");
    expect(await under.store.settleStream(lease, [{ kind: "delete", seq: rows.other.seq }])).toBe(true);
  });

  if (engine.name !== "pglite") betweenSessions();

  function betweenSessions() {
    /** A takeover whose update is done and not committed. */
    const beginTakeover = async () => {
      await under.expireStream("line");
      const trx = await under.begin();
      const taken = (await acquireStream(databaseIn(under, trx), "line", LEASE_MS)) as StreamLease;
      expect(taken.fence).toBe(2);
      return { trx, taken };
    };

    test.each(Object.entries(SETTLEMENTS))(
      "a settle that waits for a takeover changes nothing once that has committed: %s",
      async (_, settlementsOf) => {
        const { lease, rows, before } = await prepare();
        const { trx, taken } = await beginTakeover();
        const settling = under.store.settleStream(lease, settlementsOf(rows));
        await untilWaiting(under);
        await trx.commit();
        expect(await settling).toBe(false);
        expect(await everything()).toEqual(before);
        expect(await under.store.renewStream(taken)).toBe(true);
      },
    );

    test.each(Object.entries(SETTLEMENTS))(
      "a settle that waits for a takeover settles once that has rolled back: %s",
      async (_, settlementsOf) => {
        const { lease, rows, before } = await prepare();
        const { trx } = await beginTakeover();
        const settling = under.store.settleStream(lease, settlementsOf(rows));
        await untilWaiting(under);
        await trx.rollback();
        expect(await settling).toBe(true);
        expect(await everything()).not.toEqual(before);
      },
    );

    test.each(Object.entries(SETTLEMENTS))(
      "a takeover waits for a settle on its way, and sees what it wrote: %s",
      async (_, settlementsOf) => {
        const { lease, rows } = await prepare();
        await under.expireStream("line");
        const trx = await under.begin();
        expect(await settleStream(databaseIn(under, trx), lease, settlementsOf(rows))).toBe(true);
        const acquiring = under.store.acquireStream("line");
        await untilWaiting(under);
        await trx.commit();
        const taken = (await acquiring) as StreamLease;
        expect(taken.fence).toBe(2);
        const { calls, aside } = await under.store.fetchLine(taken, 10);
        const inLineNow = (await under.rows()).filter(({ state }) => state === "pending");
        expect([...calls, ...aside].map(({ seq }) => seq).sort()).toEqual(inLineNow.map(({ seq }) => seq).sort());
      },
    );

    test("a settle that waits for a renewal of its own lease settles", async () => {
      const { lease, rows } = await prepare();
      const trx = await under.begin();
      await trx("carteiro_streams").where({ stream: "line", lease_token: lease.token }).update({ fence: lease.fence });
      const settling = under.store.settleStream(lease, [{ kind: "delete", seq: rows.other.seq }]);
      await untilWaiting(under);
      await trx.commit();
      expect(await settling).toBe(true);
      expect(await under.rows()).toHaveLength(2);
    });
  }
});
