import { expect, test } from "vitest";
import type { ClaimedCall } from "../../src/store/claim-calls.js";
import type { Store } from "../../src/store/store.js";
import { describeEachEngine, type Engine } from "../support/databases.js";
import { aCall, insert, useStore } from "./support.js";

/** Hundreds, so that claims meet; few on PGlite, which is slow and where none can. */
const callsOn = (engine: Engine) => (engine.name === "pglite" ? 64 : 400);
const CLAIMERS = 4;

describeEachEngine("claiming calls from many sides at once", (engine) => {
  const under = useStore(engine);
  const count = callsOn(engine);
  // PGlite has one session; its claimers take turns, and share nothing all the same.
  const openClaimers = () =>
    Array.from({ length: CLAIMERS }, () =>
      under.openAnother(engine.name === "pglite" ? {} : { knex: under.poolWith(), ownConnections: 2 }),
    );

  test("no call is claimed twice, and none is left", async () => {
    const calls = await insert(
      under,
      Array.from({ length: count }, () => aCall()),
    );
    const claimAll = async (store: Store) => {
      const claimed: ClaimedCall[] = [];
      // An empty claim may mean that others were faster with what it had read.
      for (let emptyHanded = 0; emptyHanded < 20;) {
        const batch = await store.claimDue("default", 7);
        emptyHanded = batch.length === 0 ? emptyHanded + 1 : 0;
        claimed.push(...batch);
      }
      return claimed;
    };
    const all = (await Promise.all(openClaimers().map(claimAll))).flat();
    expectEachOnce(all, calls);
    expect((await under.rows()).every((row) => row.fence === 1 && row.leaseToken !== null)).toBe(true);
  });

  test("the process that committed and the relays share the calls out between them", async () => {
    const calls = await insert(
      under,
      Array.from({ length: count }, () => aCall()),
    );
    const ids = calls.map(({ id }) => id);
    const [one, two, three, four] = openClaimers() as [Store, Store, Store, Store];
    const claims: Promise<ClaimedCall[]>[] = [];
    for (let start = 0; start < count; start += 16) {
      const batch = ids.slice(start, start + 16);
      claims.push(one.claimById(batch), two.claimById(batch.toReversed()));
      claims.push(three.claimDue("default", 8), four.claimDue("default", 8));
    }
    const all = (await Promise.all(claims)).flat();
    expectEachOnce(all, calls);
  });

  test("an ended lease is taken over once", async () => {
    const calls = await insert(
      under,
      Array.from({ length: 40 }, () => aCall()),
    );
    const first = await under.store.claimDue("default", 40);
    await under.expireCalls(first.map(({ lease }) => lease.seq));
    const claims = openClaimers().flatMap((store) => [
      store.claimDue("default", 40),
      store.claimById(calls.map(({ id }) => id)),
    ]);
    const second = (await Promise.all(claims)).flat();
    expectEachOnce(second, calls);
    expect(second.every(({ fence }) => fence === 2)).toBe(true);
    const tokens = new Map(second.map(({ lease }) => [lease.seq, lease.token]));
    for (const row of await under.rows()) expect(row.leaseToken).toBe(tokens.get(row.seq));
  });
});

function expectEachOnce(claimed: readonly { id: string }[], calls: readonly { id: string }[]): void {
  const sorted = (list: readonly { id: string }[]) => list.map(({ id }) => id).sort();
  expect(sorted(claimed)).toEqual(sorted(calls));
}
