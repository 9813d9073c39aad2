import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { claimById } from "../../src/store/claim-by-id.js";
import { type ClaimedCall, claimDue } from "../../src/store/claim-calls.js";
import type { NewCall } from "../../src/store/insert-calls.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, databaseIn, inLine, insert, LEASE_MS, useStore } from "./support.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const ids = (calls: readonly { id: string }[]) => calls.map(({ id }) => id).sort();
const leases = (calls: readonly ClaimedCall[]) => calls.map(({ lease }) => lease);

describeEachEngine("claiming calls", (engine) => {
  const under = useStore(engine);

  test("gives the whole call, under a lease of its own", async () => {
    const call = aCall({
      functionName: "sendReceipt",
      stream: "mails",
      codec: "mine",
      version: 7,
      payload: `["ç 🙂 \\\\u0000"]`,
      headers: `{"trace":"?"}`,
    });
    await insert(under, [call]);
    const before = await under.store.readClock();
    const [claimed] = await under.store.claimById([call.id]);
    const after = await under.store.readClock();
    const [row] = await under.rows();
    expect(claimed).toMatchObject({
      seq: row!.seq,
      id: call.id,
      functionName: "sendReceipt",
      stream: "mails",
      strategy: "publish-on-commit",
      orderingKey: Buffer.alloc(0),
      codec: "mine",
      version: 7,
      payload: call.payload,
      headers: call.headers,
      attempts: 0,
      fence: 1,
      createdAtMs: row!.createdMs,
      lease: { seq: row!.seq, token: row!.leaseToken },
    });
    expect(typeof claimed!.fence).toBe("number");
    expect(row!.leaseUntilMs).toBeGreaterThanOrEqual(before + LEASE_MS);
    expect(row!.leaseUntilMs).toBeLessThanOrEqual(after + LEASE_MS);
    expect(row!.dueMs).toBeLessThanOrEqual(after);
  });

  test("by id leaves out what is not there, not due, claimed, sent, dead or keep-order", async () => {
    const { store } = under;
    const [free, delayed, claimed, sent, dead] = (await insert(
      under,
      [{}, { delayMs: DAY_MS }, {}, {}, {}].map((overrides) => aCall(overrides)),
    )) as [NewCall, NewCall, NewCall, NewCall, NewCall];
    const [line] = (await insert(under, [inLine("a")])) as [NewCall];
    expect(await store.claimById([claimed.id])).toHaveLength(1);
    const [first, second] = leases(await store.claimById([sent.id, dead.id])) as [
      ClaimedCall["lease"],
      ClaimedCall["lease"],
    ];
    await store.settleCalls([
      { lease: first, settled: { state: "sent", attempts: 1 } },
      { lease: second, settled: { state: "dead", attempts: 1, error: "no" } },
    ]);
    const missing = randomUUID();
    const asked = [missing, free.id, delayed.id, free.id, claimed.id, sent.id, dead.id, line.id, free.id];
    expect(ids(await store.claimById(asked))).toEqual([free.id]);
    expect(await store.claimById(asked)).toEqual([]);
  });

  test("by id takes many at once, and nothing for nothing", async () => {
    const calls = await insert(
      under,
      Array.from({ length: 300 }, () => aCall()),
    );
    await insert(under, [aCall()]);
    expect(await under.store.claimById([])).toEqual([]);
    const claimed = await under.store.claimById(ids(calls).reverse());
    expect(ids(claimed)).toEqual(ids(calls));
    expect(new Set(claimed.map(({ lease }) => lease.seq)).size).toBe(300);
  });

  test("by due moment takes those that waited longest, of one stream, up to the limit", async () => {
    const { store } = under;
    const now = Date.now();
    const at = (agoMs: number, stream = "mails") => aCall({ stream, runAtMs: now - agoMs });
    const [third, first, tieOne, tieTwo, other] = [at(1000), at(5000), at(3000), at(3000), at(9000, "Mails")];
    await insert(under, [third, first, tieOne, tieTwo, other]);
    await insert(under, [aCall({ stream: "mails", delayMs: DAY_MS }), inLine("a", { stream: "mails" })]);
    expect(await store.claimDue("nothing", 10)).toEqual([]);
    expect(await store.claimDue("mails", 0)).toEqual([]);
    expect(ids(await store.claimDue("mails", 1))).toEqual([first.id]);
    expect(ids(await store.claimDue("mails", 1))).toEqual([tieOne.id]);
    expect(ids(await store.claimDue("mails", 10))).toEqual(ids([tieTwo, third]));
    expect(await store.claimDue("mails", 10)).toEqual([]);
    expect(ids(await store.claimDue("Mails", 10))).toEqual([other.id]);
  });

  test("by due moment leaves what was due after the moment given", async () => {
    const { store } = under;
    const now = await store.readClock();
    const [early, late] = [aCall({ runAtMs: now - 2000 }), aCall({ runAtMs: now - 1000 })];
    await insert(under, [early, late]);
    expect(ids(await store.claimDue("default", 10, { byMs: now - 1500 }))).toEqual([early.id]);
    expect(await store.claimDue("default", 10, { byMs: now - 1500 })).toEqual([]);
    expect(ids(await store.claimDue("default", 10, { byMs: now }))).toEqual([late.id]);
  });

  test("a call whose lease has ended is claimed again, with a higher fence and another token", async () => {
    const { store } = under;
    const [{ id }] = (await insert(under, [aCall()])) as [NewCall];
    const tokens = new Set<string>();
    for (const [fence, claim] of [
      [1, () => store.claimById([id])],
      [2, () => store.claimDue("default", 1)],
      [3, () => store.claimDue("default", 1)],
    ] as const) {
      const [claimed] = await claim();
      expect(claimed).toMatchObject({ id, fence, attempts: 0 });
      tokens.add(claimed!.lease.token);
      expect(await store.claimDue("default", 1)).toEqual([]);
      await under.expireCalls([claimed!.lease.seq]);
      // Hints are for what nobody has claimed.
      expect(await store.claimById([id])).toEqual([]);
    }
    expect(tokens.size).toBe(3);
  });

  test("renewing moves the end of the leases that are held, and names them", async () => {
    const { store } = under;
    await insert(
      under,
      Array.from({ length: 4 }, () => aCall()),
    );
    const [kept, expired, lost, settled] = leases(await store.claimDue("default", 4)) as [
      ClaimedCall["lease"],
      ClaimedCall["lease"],
      ClaimedCall["lease"],
      ClaimedCall["lease"],
    ];
    await store.settleCalls([{ lease: settled, settled: { state: "sent", attempts: 1 } }]);
    await under.expireCalls([lost.seq]);
    const [taken] = await store.claimDue("default", 4);
    await under.expireCalls([kept.seq, expired.seq]);
    const longer = under.openAnother({ leaseMs: DAY_MS });
    const stranger = { seq: kept.seq, token: randomUUID() };
    expect(await longer.renewCalls([lost, kept, stranger, settled, expired])).toEqual([kept, expired]);
    expect(await longer.renewCalls([lost])).toEqual([]);
    expect(await longer.renewCalls([])).toEqual([]);
    const clock = await store.readClock();
    const ends = new Map((await under.rows()).map((row) => [row.seq, row.leaseUntilMs]));
    for (const { seq } of [kept, expired]) expect(ends.get(seq)).toBeGreaterThan(clock + DAY_MS - LEASE_MS);
    expect(ends.get(taken!.lease.seq)).toBeLessThan(clock + 2 * LEASE_MS);
    expect(await store.claimDue("default", 4)).toEqual([]);
  });

  test("releasing gives back what is still held, due after the delay, uncounted", async () => {
    const { store } = under;
    await insert(
      under,
      Array.from({ length: 3 }, () => aCall()),
    );
    const [now, later, lost] = leases(await store.claimDue("default", 3)) as [
      ClaimedCall["lease"],
      ClaimedCall["lease"],
      ClaimedCall["lease"],
    ];
    await under.expireCalls([lost.seq]);
    const [taken] = await store.claimDue("default", 3);
    await store.releaseCalls([now, lost], 0);
    await store.releaseCalls([later], DAY_MS);
    await store.releaseCalls([], 0);
    const rows = new Map((await under.rows()).map((row) => [row.seq, row]));
    expect(rows.get(now.seq)).toMatchObject({ leaseToken: null, attempts: 0, state: "pending", fence: 1 });
    expect(rows.get(later.seq)).toMatchObject({ leaseToken: null, attempts: 0, state: "pending" });
    expect(rows.get(lost.seq)!.leaseToken).toBe(taken!.lease.token);
    const claimed = await store.claimDue("default", 3);
    expect(claimed.map(({ lease }) => lease.seq)).toEqual([now.seq]);
    expect(claimed[0]).toMatchObject({ attempts: 0, fence: 2 });
    expect(rows.get(later.seq)!.dueMs).toBeGreaterThan((await store.readClock()) + DAY_MS / 2);
  });

  test("a claim, a renewal, an end and a release at once leave the moment at which a call is due; a delay moves it", async () => {
    const { store, tables } = under;
    const runAtMs = (await store.readClock()) - 5000;
    const [call, other] = (await insert(under, [aCall({ runAtMs }), aCall({ runAtMs })])) as [NewCall, NewCall];
    // As the database keeps it, to the microsecond.
    const dueOf = async ({ id }: NewCall) =>
      (
        await under.select<{ due: string }>(`select concat(due_at, '') as due from ${tables.calls} where id = ?`, [id])
      )[0]!;
    const due = await dueOf(call);
    const rowOf = async ({ id }: NewCall) => (await under.rows()).find((row) => row.id === id)!;
    for (const claim of [() => store.claimById([call.id]), () => store.claimDue("default", 1)]) {
      const [claimed] = await claim();
      expect(claimed!.id).toBe(call.id);
      expect(await dueOf(call)).toEqual(due);
      expect((await rowOf(call)).leaseUntilMs).not.toBeNull();
      await store.renewCalls([claimed!.lease]);
      expect(await dueOf(call)).toEqual(due);
      await store.releaseCalls([claimed!.lease], 0);
      expect(await dueOf(call)).toEqual(due);
      expect(await rowOf(call)).toMatchObject({ leaseUntilMs: null, leaseToken: null });
    }
    const [claimed] = await store.claimDue("default", 1);
    await store.endLeases([claimed!.lease], 0);
    expect(await dueOf(call)).toEqual(due);
    const [again] = await store.claimDue("default", 1);
    expect(again).toMatchObject({ id: call.id, isSuspect: true });
    const before = await store.readClock();
    await store.releaseCalls([again!.lease], DAY_MS);
    const after = await store.readClock();
    const row = await rowOf(call);
    expect(row).toMatchObject({ leaseUntilMs: null, leaseToken: null });
    expect(row.dueMs).toBeGreaterThanOrEqual(before + DAY_MS);
    expect(row.dueMs).toBeLessThanOrEqual(after + DAY_MS);
    expect(await dueOf(other)).toEqual(due);
    expect(ids(await store.claimDue("default", 10))).toEqual([other.id]);
  });

  test.skipIf(engine.name === "pglite")("a call that has not committed is not there", async () => {
    const { store } = under;
    const call = aCall();
    const trx = await under.begin();
    await store.insert(trx, [call]);
    expect(await store.claimById([call.id])).toEqual([]);
    expect(await store.claimDue("default", 10)).toEqual([]);
    await trx.commit();
    expect(ids(await store.claimById([call.id]))).toEqual([call.id]);
  });

  test.skipIf(engine.name === "pglite")(
    "an open claim keeps no insert waiting, and no other claim from the rest",
    async () => {
      const { store } = under;
      const calls = await insert(
        under,
        Array.from({ length: 20 }, () => aCall()),
      );
      const trx = await under.begin();
      const open = databaseIn(under, trx);
      const claimed = [
        ...(await claimDue(open, "default", 5, LEASE_MS)),
        ...(await claimById(open, [...ids(calls).slice(0, 3), randomUUID()], LEASE_MS)),
        ...(await claimDue(open, "empty", 5, LEASE_MS)),
      ];
      const later = [aCall(), aCall({ stream: "empty" }), inLine("a")];
      await insert(under, later);
      const rest = calls.filter(({ id }) => !claimed.some((one) => one.id === id));
      // They pass over what another claim holds.
      const claimedNow = ids(await store.claimDue("default", 3));
      expect(claimedNow).toHaveLength(3);
      rest.splice(0, rest.length, ...rest.filter(({ id }) => !claimedNow.includes(id)));
      expect(ids(await store.claimById(ids([...rest, ...later])))).toEqual(ids([...rest, later[0]!, later[1]!]));
      await trx.commit();
      expect((await under.rows()).filter((row) => row.leaseToken === null)).toHaveLength(1);
    },
  );

  test.skipIf(engine.name === "pglite")("an open insert keeps no claim waiting", async () => {
    const { store } = under;
    const calls = await insert(
      under,
      Array.from({ length: 20 }, () => aCall()),
    );
    // What the application's own isolation is by default.
    const trx = await under.begin("repeatable read");
    await store.insert(trx, [aCall(), inLine("a"), aCall({ stream: "other" })]);
    const claimed = [...(await store.claimDue("default", 15)), ...(await store.claimById(ids(calls)))];
    expect(ids(claimed)).toEqual(ids(calls));
    await trx.commit();
  });
});
