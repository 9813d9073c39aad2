import { expect, it } from "vitest";
import { aCall, describeSome, inLine, insert, untilWaiting, useStore } from "../store/support.js";

describeSome(
  "a table of writers' locks that somebody has emptied",
  (engine) => {
    const under = useStore(engine);

    it.each(["read committed", "repeatable read"] as const)(
      "keeps a key's writers in order all the same, at %s, and is filled again",
      async (level) => {
        const { knex, store, tables } = under;
        await knex.raw(`delete from ${tables.writers}`);
        const [one, other] = [await under.begin(level), await under.begin(level)];
        await store.insert(one, [inLine("a", { payload: '["one"]' })]);
        const inserting = store.insert(other, [inLine("a", { payload: '["other"]' })]).then(() => other.commit());
        await untilWaiting(under);
        await one.commit();
        await inserting;
        expect((await under.rows()).map(({ payload }) => payload)).toEqual(['["one"]', '["other"]']);
        await insert(under, [aCall(), inLine("a"), inLine("b")]);
        expect((await under.select(`select slot from ${tables.writers}`)).length).toBe(2);
      },
    );
  },
  ({ dialect }) => dialect === "mysql2",
);
