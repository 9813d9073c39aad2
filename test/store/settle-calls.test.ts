import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { claimDue } from "../../src/store/claim-calls.js";
import type { CallLease } from "../../src/store/dialect.js";
import { type CallSettlement, type Settled, settleCalls } from "../../src/store/settle-calls.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, databaseIn, insert, LEASE_MS, type Row, untilWaiting, useStore } from "./support.js";

const HOUR_MS = 60 * 60 * 1000;

const OUTCOMES: Record<string, Settled> = {
  deleted: { state: "deleted" },
  sent: { state: "sent", attempts: 2 },
  failed: { state: "pending", attempts: 3, delayMs: HOUR_MS, error: "the receiver is down" },
  dead: { state: "dead", attempts: 4, error: "no such address" },
};

describeEachEngine("settling claimed calls", (engine) => {
  const under = useStore(engine);
  /** New calls under leases. */
  const claim = async (count: number): Promise<CallLease[]> => {
    await insert(
      under,
      Array.from({ length: count }, () => aCall()),
    );
    return (await under.store.claimDue("default", count)).map(({ lease }) => lease);
  };
  /** The same calls, taken over by somebody else. */
  const takeOver = async (leases: readonly CallLease[]): Promise<CallLease[]> => {
    await under.expireCalls(leases.map(({ seq }) => seq));
    return (await under.store.claimDue("default", leases.length)).map(({ lease }) => lease);
  };
  const bySeq = async () => new Map((await under.rows()).map((row) => [row.seq, row]));

  test("writes down each outcome, all in one group", async () => {
    const leases = await claim(4);
    const before = await under.store.readClock();
    const settlements = Object.values(OUTCOMES).map((settled, n) => ({ lease: leases[n]!, settled }));
    expect(await under.store.settleCalls(settlements)).toEqual([]);
    const after = await under.store.readClock();
    const rows = await bySeq();
    const [deleted, sent, failed, dead] = leases.map(({ seq }) => rows.get(seq)) as [undefined, Row, Row, Row];
    expect(deleted).toBeUndefined();
    expect(sent).toMatchObject({ state: "sent", attempts: 2, lastError: null, leaseToken: null, fence: 1 });
    expect(failed).toMatchObject({
      state: "pending",
      attempts: 3,
      lastError: "the receiver is down",
      leaseToken: null,
      settledMs: null,
    });
    expect(failed.dueMs).toBeGreaterThanOrEqual(before + HOUR_MS);
    expect(failed.dueMs).toBeLessThanOrEqual(after + HOUR_MS);
    expect(dead).toMatchObject({ state: "dead", attempts: 4, lastError: "no such address", leaseToken: null });
    for (const row of [sent, dead]) {
      expect(row.settledMs).toBeGreaterThanOrEqual(before);
      expect(row.settledMs).toBeLessThanOrEqual(after);
    }
  });

  test.each(Object.entries(OUTCOMES))("settles one call alone: %s", async (_, settled) => {
    const [lease, other] = (await claim(2)) as [CallLease, CallLease];
    expect(await under.store.settleCalls([{ lease, settled }])).toEqual([]);
    expect(await under.store.settleCalls([])).toEqual([]);
    const rows = await bySeq();
    expect(rows.get(lease.seq)?.state).toBe(settled.state === "deleted" ? undefined : settled.state);
    expect(rows.get(other.seq)).toMatchObject({ state: "pending", leaseToken: other.token, attempts: 0 });
  });

  test("a failed call is claimed again once it is due, with its attempts, and keeps its last error when it is sent", async () => {
    const [lease] = (await claim(1)) as [CallLease];
    const failed: Settled = { state: "pending", attempts: 1, delayMs: 0, error: "the first error" };
    await under.store.settleCalls([{ lease, settled: failed }]);
    const [again] = await under.store.claimDue("default", 1);
    expect(again).toMatchObject({ attempts: 1, fence: 2 });
    await under.store.settleCalls([{ lease: again!.lease, settled: { state: "sent", attempts: 2 } }]);
    expect(await under.rows()).toMatchObject([{ state: "sent", attempts: 2, lastError: "the first error" }]);
    expect(await under.store.claimDue("default", 1)).toEqual([]);
  });

  test("keeps errors of 4000 characters with all there is in them", async () => {
    const errors = [
      "🙂".repeat(2000),
      "é".repeat(4000),
      `'"\\ ? $1 ?? \\? \n\r\t \u0001 \u2400 ${"ação ".repeat(500)}`,
      "",
    ];
    const leases = await claim(errors.length);
    const settlements = errors.map((error, n) => ({
      lease: leases[n]!,
      settled: { state: "dead", attempts: 1, error } as const,
    }));
    expect(await under.store.settleCalls(settlements)).toEqual([]);
    expect((await under.rows()).map((row) => row.lastError)).toEqual(errors);
  });

  test("settles many at once", async () => {
    const leases = await claim(500);
    const outcomes = Object.values(OUTCOMES);
    const settlements = leases.map((lease, n) => ({ lease, settled: outcomes[n % 4]! }));
    expect(await under.store.settleCalls(settlements)).toEqual([]);
    const states = (await under.rows()).map((row) => row.state);
    for (const state of ["sent", "pending", "dead"]) expect(states.filter((one) => one === state)).toHaveLength(125);
    expect(states).toHaveLength(375);
  });

  test.each(Object.entries(OUTCOMES))("an old token changes nothing and is named: %s", async (_, settled) => {
    const old = await claim(3);
    const [first, second, third] = (await takeOver(old)) as [CallLease, CallLease, CallLease];
    const before = await under.rows();
    const settlements = old.map((lease) => ({ lease, settled }));
    expect(await under.store.settleCalls(settlements)).toEqual(settlements);
    expect(await under.rows()).toEqual(before);
    expect(await under.store.renewCalls([first, second, third])).toHaveLength(3);
  });

  test("of a mixed group, what is held is settled and the rest is named", async () => {
    const lost = await claim(4);
    const taken = await takeOver(lost);
    const held = await claim(4);
    const outcomes = Object.values(OUTCOMES);
    const strangers = [{ lease: { seq: held[0]!.seq, token: randomUUID() }, settled: outcomes[0]! }];
    const gone = [{ lease: { seq: 999_999_999, token: randomUUID() }, settled: outcomes[1]! }];
    const lostSettlements = lost.map((lease, n) => ({ lease, settled: outcomes[n]! }));
    const heldSettlements = held.map((lease, n) => ({ lease, settled: outcomes[n]! }));
    const mixed = [lostSettlements, heldSettlements].flatMap((one) => one.slice(0, 2));
    mixed.push(...strangers, ...gone, ...heldSettlements.slice(2), ...lostSettlements.slice(2));
    const unsettled = await under.store.settleCalls(mixed);
    expect(new Set(unsettled)).toEqual(new Set([...lostSettlements, ...strangers, ...gone]));
    const rows = await bySeq();
    for (const { seq, token } of taken) {
      expect(rows.get(seq)).toMatchObject({ state: "pending", leaseToken: token, attempts: 0 });
    }
    expect(held.map(({ seq }) => rows.get(seq)?.state)).toEqual([undefined, "sent", "pending", "dead"]);
  });

  test("both runs of a process that lost a call and claimed it again are told apart", async () => {
    const old = await claim(2);
    const taken = await takeOver(old);
    const late = old.map((lease) => ({ lease, settled: OUTCOMES["deleted"]! }));
    const own = taken.map((lease) => ({ lease, settled: OUTCOMES["failed"]! }));
    expect(await under.store.settleCalls([late[0]!, own[0]!, own[1]!, late[1]!])).toEqual(late);
    expect(await under.rows()).toMatchObject([
      { state: "pending", attempts: 3, leaseToken: null },
      { state: "pending", attempts: 3, leaseToken: null },
    ]);
  });

  test.each(Object.entries(OUTCOMES))(
    "of many of many claims, the few that are lost are named: %s",
    async (_, settled) => {
      const claims: CallLease[] = [];
      // Of one claim are more than half, the others are of ten more.
      for (const count of [160, ...Array.from({ length: 10 }, () => 14)]) claims.push(...(await claim(count)));
      const lost = claims.filter((_one, n) => n % 29 === 3);
      const taken = await takeOver(lost);
      expect(taken).toHaveLength(lost.length);
      const settlements = claims.map((lease) => ({ lease, settled }));
      const unsettled = await under.store.settleCalls(settlements);
      expect(new Set(unsettled)).toEqual(new Set(settlements.filter(({ lease }) => lost.includes(lease))));
      expect(unsettled).toHaveLength(lost.length);
      const rows = await bySeq();
      for (const { seq, token } of taken) {
        expect(rows.get(seq)).toMatchObject({ state: "pending", leaseToken: token, attempts: 0, fence: 2 });
      }
      const settledRows = claims.filter((lease) => !lost.includes(lease)).map(({ seq }) => rows.get(seq));
      const expected = settled.state === "deleted" ? undefined : { state: settled.state, leaseToken: null };
      for (const row of settledRows) {
        if (expected === undefined) expect(row).toBeUndefined();
        else expect(row).toMatchObject(expected);
      }
      expect(await under.store.renewCalls(taken)).toHaveLength(taken.length);
    },
  );

  test.each(Object.entries(OUTCOMES))(
    "of a call that was lost and claimed again, the late run changes nothing in a group with the second one: %s",
    async (_, settled) => {
      const old = await claim(20);
      const again = await takeOver(old.filter((_one, n) => n % 5 === 0));
      const lateOf = (seq: CallLease["seq"]) => old.find((lease) => lease.seq === seq)!;
      const late = again.map(({ seq }) => ({ lease: lateOf(seq), settled: OUTCOMES["dead"]! }));
      const alike = again.map(({ seq }) => ({ lease: lateOf(seq), settled }));
      for (const one of [late, alike]) {
        const own = again.slice(0, 2).map((lease) => ({ lease, settled }));
        const held = old.slice(1, 5).map((lease) => ({ lease, settled }));
        const unsettled = await under.store.settleCalls([one[0]!, ...held, ...own, ...one.slice(1)]);
        expect(new Set(unsettled)).toEqual(new Set(one));
        const rows = await bySeq();
        const state = settled.state === "deleted" ? undefined : settled.state;
        for (const { lease } of [...own, ...held]) expect(rows.get(lease.seq)?.state).toBe(state);
        for (const { seq, token } of again.slice(2)) {
          expect(rows.get(seq)).toMatchObject({ state: "pending", leaseToken: token, attempts: 0 });
        }
        // What is left, for the second round.
        again.splice(0, 2);
        old.splice(0, 5);
        late.splice(0, 2);
        alike.splice(0, 2);
      }
    },
  );

  test("a second settle of one lease is told that it is gone", async () => {
    const leases = await claim(4);
    const settlements = Object.values(OUTCOMES).map((settled, n) => ({ lease: leases[n]!, settled }));
    await under.store.settleCalls(settlements);
    const before = await under.rows();
    expect(await under.store.settleCalls(settlements)).toEqual(settlements);
    expect(await under.rows()).toEqual(before);
  });

  test("a group with an outcome that the database refuses is settled not at all", async () => {
    const leases = await claim(3);
    const refused: Settled = { state: "dead", attempts: Number.NaN, error: "no" };
    const settlements = [OUTCOMES["deleted"]!, OUTCOMES["sent"]!, refused].map((settled, n) => ({
      lease: leases[n]!,
      settled,
    }));
    await expect(under.store.settleCalls(settlements)).rejects.toThrow();
    expect(await under.rows()).toMatchObject(leases.map(({ token }) => ({ state: "pending", leaseToken: token })));
  });

  if (engine.name !== "pglite") betweenSessions();

  function betweenSessions() {
    test.each(Object.entries(OUTCOMES))(
      "a settle that waits for a takeover changes nothing once that commits: %s",
      async (_, settled) => {
        const old = await claim(2);
        await under.expireCalls(old.map(({ seq }) => seq));
        const trx = await under.begin();
        const taken = await claimDue(databaseIn(under, trx), "default", 2, LEASE_MS);
        expect(taken).toHaveLength(2);
        const settlements = old.map((lease) => ({ lease, settled }));
        const settling = under.store.settleCalls(settlements);
        await untilWaiting(under);
        await trx.commit();
        expect(await settling).toEqual(settlements);
        expect(await under.rows()).toMatchObject(
          taken.map(({ lease }) => ({ state: "pending", attempts: 0, leaseToken: lease.token, fence: 2 })),
        );
      },
    );

    test("a settle that waits for a takeover that rolls back settles", async () => {
      const old = await claim(2);
      await under.expireCalls(old.map(({ seq }) => seq));
      const trx = await under.begin();
      await claimDue(databaseIn(under, trx), "default", 2, LEASE_MS);
      const settling = under.store.settleCalls(
        old.map((lease, n) => ({ lease, settled: n === 0 ? OUTCOMES["deleted"]! : OUTCOMES["sent"]! })),
      );
      await untilWaiting(under);
      await trx.rollback();
      expect(await settling).toEqual([]);
      expect(await under.rows()).toMatchObject([{ state: "sent" }]);
    });

    test.each(Object.entries(OUTCOMES))(
      "a takeover finds nothing while a settle is not committed: %s",
      async (_, settled) => {
        const [lease] = (await claim(1)) as [CallLease];
        await under.expireCalls([lease.seq]);
        const trx = await under.begin();
        expect(await settleCalls(databaseIn(under, trx), [{ lease, settled }])).toEqual([]);
        // It passes over the locked row.
        expect(await under.store.claimDue("default", 1)).toEqual([]);
        await trx.commit();
        expect(await under.store.claimDue("default", 1)).toEqual([]);
        expect(await under.rows()).toMatchObject(
          settled.state === "deleted" ? [] : [{ state: settled.state, fence: 1 }],
        );
      },
    );

    test("of settles and takeovers at once, each call has one winner", async () => {
      const stores = Array.from({ length: 3 }, () => under.openAnother({ knex: under.poolWith() }));
      const old = await claim(200);
      await under.expireCalls(old.map(({ seq }) => seq));
      const settlements = old.map((lease): CallSettlement => ({ lease, settled: { state: "sent", attempts: 1 } }));
      const settling: Promise<CallSettlement[]>[] = [];
      const claiming: ReturnType<typeof claimDue>[] = [];
      for (let start = 0; start < 200; start += 10) {
        settling.push(stores[0]!.settleCalls(settlements.slice(start, start + 10)));
        claiming.push(stores[1]!.claimDue("default", 5), stores[2]!.claimDue("default", 5));
      }
      const lost = new Set((await Promise.all(settling)).flat().map(({ lease }) => lease.seq));
      const taken = new Set((await Promise.all(claiming)).flat().map(({ lease }) => lease.seq));
      expect(lost).toEqual(taken);
      const rows = await under.rows();
      expect(rows).toHaveLength(200);
      for (const row of rows) {
        expect(row).toMatchObject(taken.has(row.seq) ? { state: "pending", fence: 2 } : { state: "sent", fence: 1 });
      }
    });
  }
});
