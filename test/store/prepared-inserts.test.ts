import type { Knex } from "knex";
import { expect, it } from "vitest";
import type { NewCall } from "../../src/store/insert-calls.js";
import { aCall, describeSome, inLine, useStore } from "./support.js";

/** What knex tells of a statement. */
interface Sent {
  sql: string;
  options?: { name?: string };
}

type Connection = object & { processID: number };

describeSome(
  "inserts in the application's transactions",
  (engine) => {
    const under = useStore(engine);

    /** The names of the statements that store these calls, each in a transaction of its own, on one connection. */
    async function namesOf(
      knex: Knex,
      transactions: NewCall[][],
      store = under.store,
    ): Promise<(string | undefined)[]> {
      const names: (string | undefined)[] = [];
      const note = ({ sql, options }: Sent) => sql.startsWith("insert") && names.push(options?.name);
      knex.on("query", note);
      for (const calls of transactions) await knex.transaction((trx) => store.insert(trx, calls));
      knex.removeListener("query", note);
      return names;
    }
    const one = () => [aCall()];
    /** With a single connection. */
    const pool = (change: (connection: Connection) => void = () => undefined): Knex =>
      under.database.newKnex!({
        pool: {
          min: 0,
          max: 1,
          afterCreate(connection: Connection, done: (error: null, connection: Connection) => void) {
            change(connection);
            done(null, connection);
          },
        },
      });

    it("are prepared once the connection was seen to lead straight to its session", async () => {
      const knex = pool();
      const [first, second, third] = await namesOf(knex, [one(), one(), one()]);
      expect([first, second]).toEqual([undefined, expect.stringMatching(/^carteiro_insert_/)]);
      expect(third).toBe(second);
      const { rows } = await knex.raw<{ rows: unknown[] }>("select name from pg_prepared_statements");
      expect(rows).toEqual([{ name: second }]);
      expect(await under.rows()).toHaveLength(3);
    });

    it("have a name for each kind of call, however many there are", async () => {
      const kinds = () => [
        [aCall()],
        [aCall({ delayMs: 1000 })],
        [aCall({ runAtMs: Date.UTC(2100, 0, 1) })],
        [inLine("a")],
        [aCall(), aCall({ delayMs: 1000 })],
      ];
      const calls = [...kinds(), ...kinds(), [aCall(), aCall(), aCall()]];
      const names = await namesOf(pool(), [one(), ...calls]);
      expect(new Set(names.slice(1)).size).toBe(5);
      expect(names.slice(1)).not.toContain(undefined);
      const ids = (await under.rows()).slice(1).map(({ id }) => id);
      expect(ids).toEqual(calls.flat().map(({ id }) => id));
    });

    it("are not where a pooler is in between, or the store was told so", async () => {
      const pooled = pool((connection) => (connection.processID += 1));
      expect(await namesOf(pooled, [one(), one(), one()])).toEqual([undefined, undefined, undefined]);
      const told = under.openAnother({ preparesStatements: false });
      expect(await namesOf(pool(), [one(), one(), one()], told)).toEqual([undefined, undefined, undefined]);
    });

    it("are not any more where the application has dropped them, which costs it one transaction", async () => {
      const knex = pool();
      const store = under.openAnother();
      await namesOf(knex, [one(), one()], store);
      await knex.raw("deallocate all");
      await expect(namesOf(knex, [one()], store)).rejects.toMatchObject({ code: "26000" });
      expect(await namesOf(knex, [one(), one()], store)).toEqual([undefined, undefined]);
    });

    it("go on when the table was changed meanwhile", async () => {
      const knex = pool();
      await namesOf(knex, [one(), one(), [aCall(), aCall()]]);
      await knex.raw(`alter table ${under.tables.calls} add column note text, alter column codec type varchar(300)`);
      await namesOf(knex, [one(), [aCall(), aCall()]]);
      await knex.raw(`alter table ${under.tables.calls} drop column note, alter column codec type text`);
      await namesOf(knex, [one(), [aCall(), aCall()]]);
      expect(await under.rows()).toHaveLength(10);
    });
  },
  ({ name }) => name === "postgresql",
);
