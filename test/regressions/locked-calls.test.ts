import { expect, test } from "vitest";
import { describeEachServer } from "../support/outboxes.js";
import { aCall, insert, useStore } from "../store/support.js";

const ids = (calls: readonly { id: string }[]) => calls.map(({ id }) => id);

describeEachServer("a call that somebody has locked", (engine) => {
  const under = useStore(engine);

  const insertSix = () =>
    insert(
      under,
      Array.from({ length: 6 }, () => aCall()),
    );

  test("keeps no claim from what stands behind it", async () => {
    const { store, tables } = under;
    const calls = await insertSix();
    const person = await under.begin();
    const locked = ids(calls.slice(0, 4)).map((id) => `'${id}'`);
    await person.raw(`select seq from ${tables.calls} where id in (${locked.join(", ")}) for update`);
    expect(ids(await store.claimDue("default", 2)).toSorted()).toEqual(ids(calls.slice(4)).toSorted());
    await person.rollback();
  });

  test("keeps no claim of others waiting, and is claimed afterwards, under no suspicion", async () => {
    const { store, tables } = under;
    const calls = await insertSix();
    const person = await under.begin();
    await person.raw(`select seq from ${tables.calls} where id = ? for update`, [calls[2]!.id]);
    const hinted = await store.claimById(ids(calls.slice(0, 4)));
    expect(ids(hinted).toSorted()).toEqual(ids([calls[0]!, calls[1]!, calls[3]!]).toSorted());
    expect(hinted).toMatchObject(hinted.map(() => ({ fence: 1, isSuspect: false })));
    expect(ids(await store.claimDue("default", 10)).toSorted()).toEqual(ids(calls.slice(4)).toSorted());
    await person.rollback();
    expect(await store.claimDue("default", 10)).toMatchObject([{ id: calls[2]!.id, fence: 1, isSuspect: false }]);
  });
});
