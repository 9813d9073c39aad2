import { expect, test } from "vitest";
import type { StreamLease } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { inLine, insert, useStore } from "../store/support.js";

const HOUR_MS = 60 * 60 * 1000;

describeEachEngine("calls set aside whose key has no row", (engine) => {
  const under = useStore(engine);

  test("get one, so that they are seen again", async () => {
    await insert(under, [inLine("a"), inLine("b"), inLine("a"), inLine("c")]);
    const lease = (await under.store.acquireStream("line")) as StreamLease;
    const [a1, b1, a2] = await under.rows();
    const blocked = { seq: b1!.seq, attempts: 1, error: "down" };
    await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: HOUR_MS }, head: blocked }]);
    const [keyOfB] = await under.keys();
    // As after somebody edited the tables.
    await under.knex(`carteiro_calls`).where({ seq: a1!.seq }).update({ state: "held" });
    expect(await under.store.fetchDueKeys(lease, 10)).toEqual([]);

    const aside = [a1!.seq, b1!.seq, a2!.seq];
    expect(await under.store.settleStream(lease, [{ kind: "set-aside", seqs: aside }])).toBe(true);
    expect((await under.rows()).map(({ state }) => state)).toEqual(["held", "held", "held", "pending"]);
    const keys = (await under.keys()).toSorted((one, other) => Buffer.compare(one.orderingKey, other.orderingKey));
    expect(keys).toMatchObject([{ stream: "line", orderingKey: Buffer.from("a"), state: "busy" }, keyOfB]);
    expect(keys).toHaveLength(2);
    expect(await under.store.fetchDueKeys(lease, 10)).toMatchObject([{ key: Buffer.from("a"), head: { id: a1!.id } }]);
    expect(await under.store.fetchHeld(lease, Buffer.from("a"), a1!.seq, 10)).toMatchObject([{ id: a2!.id }]);
  });
});
