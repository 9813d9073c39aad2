import { expect, test } from "vitest";
import { settleStream, type StreamLease, type StreamSettlement } from "../../src/store/serve-stream.js";
import type { Settled } from "../../src/store/settle-calls.js";
import { aCall, databaseIn, describeSome, inLine, insert, useStore } from "./support.js";

/** Of so many calls as there are, so many are written. A database that is to find them by a scan meets the others, too. */
const SIZES = [
  [2, 2],
  [5, 6],
  [20, 20],
  [100, 150],
  [256, 256],
] as const;

describeSome("while transactions of the application are open", (engine) => {
  const under = useStore(engine);
  // A statement that waits fails, before the test's time is over.
  const openImpatient = () =>
    under.openAnother({
      knex: under.poolWith(
        engine.dialect === "pg" ? "set lock_timeout = '2s'" : "set session innodb_lock_wait_timeout = 1",
      ),
    });
  const hold = (seq: number | string): StreamSettlement => ({
    kind: "hold",
    state: "blocked",
    due: { inMs: 0 },
    head: { seq, attempts: 1 },
  });

  test.each(SIZES)("nothing waits for what they have inserted: %i of %i calls", async (written, all) => {
    const store = openImpatient();
    const some = (count: number) => [
      ...Array.from({ length: count }, () => inLine("a")),
      ...Array.from({ length: count }, () => aCall()),
    ];
    await insert(under, some(written));
    const lease = (await store.acquireStream("line")) as StreamLease;
    const claimed = await store.claimDue("default", written);
    const { calls } = await store.fetchLine(lease, written);
    await insert(under, some(all - written));
    const trx = await under.begin("repeatable read");
    await under.store.insert(trx, [aCall(), inLine("b"), inLine("c")]);

    const leases = claimed.map((call) => call.lease);
    const outcomes: Settled[] = [{ state: "deleted" }, { state: "sent", attempts: 1 }];
    expect(await store.renewCalls(leases)).toHaveLength(written);
    await store.releaseCalls(leases, 0);
    const again = await store.claimDue("default", written);
    expect(again.length).toBeGreaterThan(0);
    await store.settleCalls(again.map((call, n) => ({ lease: call.lease, settled: outcomes[n % 2]! })));
    const line = calls.map(({ seq }) => seq);
    expect(await store.settleStream(lease, [{ kind: "set-aside", seqs: line }])).toBe(true);
    // The test's calls are of one key, of which a group holds one head.
    for (const seq of line.slice(1, 4)) expect(await store.settleStream(lease, [hold(seq)])).toBe(true);
    expect(await store.settleStream(lease, [{ kind: "mark-sent", seq: line[0]! }])).toBe(true);
    expect(
      await store.settleStream(
        lease,
        line.map((seq) => ({ kind: "delete", seq })),
      ),
    ).toBe(true);
    await store.deleteSent(-1000, 1000);
    await store.releaseStream(lease);
    expect(await store.acquireStream("another line")).toBeDefined();
    expect((await store.dueStreams()).length).toBeGreaterThanOrEqual(0);
    await trx.commit();
  });

  test.each(SIZES)("one stream's settling keeps no other stream waiting: %i of %i keys", async (written, all) => {
    const store = openImpatient();
    const keys = Array.from({ length: all }, (_, n) => `key ${n}`);
    const leases: StreamLease[] = [];
    for (const stream of ["one", "two"]) {
      await insert(
        under,
        keys.map((key) => inLine(key, { stream })),
      );
      leases.push((await store.acquireStream(stream)) as StreamLease);
    }
    const [one, two] = leases as [StreamLease, StreamLease];
    const [first, second] = [(await store.fetchLine(one, written)).calls, (await store.fetchLine(two, written)).calls];
    const trx = await under.begin();
    const heldByOne = first.map(({ seq }) => hold(seq));
    expect(await settleStream(databaseIn(under, trx), one, heldByOne)).toBe(true);
    expect(
      await store.settleStream(
        two,
        second.map(({ seq }) => hold(seq)),
      ),
    ).toBe(true);
    const releasing = second.flatMap(({ seq, orderingKey }): StreamSettlement[] => [
      { kind: "delete", seq },
      { kind: "release", key: orderingKey },
    ]);
    expect(await store.settleStream(two, releasing)).toBe(true);
    expect(await store.renewStream(two)).toBe(true);
    await store.releaseStream(two);
    expect(await store.acquireStream("two")).toBeDefined();
    expect(await store.acquireStream("three")).toBeDefined();
    await trx.commit();
    expect(await under.keys()).toHaveLength(written);
  });
});
