import knexFactory, { type Knex } from "knex";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createOutbox } from "../../src/index.js";
import { createPGliteKnex } from "../../src/pglite.js";
import { describeEachEngine, type Engine } from "../support/databases.js";
import { createPGlite } from "../support/pglite.js";
import { deferred } from "../support/waiting.js";
import { ambient, Books, explicit, type Kind, kinds, useBooks, type Way } from "./books.js";

const toCamel = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
const toSnake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camelRow = (row: object) =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [toCamel(name), value]));

const settings: [string, Partial<Knex.Config>][] = [
  [
    "snake case mappers",
    {
      wrapIdentifier: (name, wrap) => wrap(name === "*" ? name : toSnake(name)),
      postProcessResponse: (answer: unknown) =>
        Array.isArray(answer)
          ? answer.map((row: unknown) => (typeof row === "object" && row !== null ? camelRow(row) : row))
          : answer,
    },
  ],
  [
    "a response mapper that knows nothing but rows",
    {
      postProcessResponse(answer: unknown) {
        if (!Array.isArray(answer) || answer.some((row) => row === undefined)) throw new TypeError("no rows");
        return answer.map((row: unknown) => (typeof row === "object" ? Object.freeze(row) : row));
      },
    },
  ],
  ["upper case identifiers", { wrapIdentifier: (name, wrap) => wrap(name.toUpperCase()) }],
  ["asyncStackTraces", { asyncStackTraces: true, compileSqlOnError: false }],
];

describeEachEngine("calls are saved and run on a knex", (engine) => {
  describe.each(settings)("with %s", (_, config) => {
    let plain: Knex;
    let mapped: Knex;
    let close: () => Promise<void>;
    beforeAll(async () => {
      ({ plain, mapped, close } = await open(engine, config));
      const outbox = createOutbox({ knex: plain });
      await outbox.migrate();
      await outbox.close();
      await plain.schema.createTable("entries", (table) => void table.integer("n").primary());
    });
    afterAll(() => close());

    it.each(engine.name === "pglite" ? [0] : [0, 2])("by every way, ownConnections: %s", async (ownConnections) => {
      const books = new Books(mapped, { ownConnections });
      try {
        for (const [n, way] of [ambient, explicit].entries()) {
          // The column is named by hand: one of the mappers would not find it.
          const enter = async (trx: Knex.Transaction, entry: number) => {
            await trx.raw("insert into entries values (?)", [entry]).catch(ignoreMapper);
            await books.call(way, trx, entry);
          };
          await way.begin(books, async (trx) => {
            await enter(trx, n * 10 + 1);
            await way.nest(books, trx, (inner) => enter(inner, n * 10 + 2));
          });
        }
        await books.outbox.idle();
        await books.outbox.relay();
        const all = [1, 2, 11, 12];
        expect(books.ran()).toEqual({ "publish-on-commit": all, "keep-order": all, "on-failure": all });
        expect(await books.outbox.calls.list()).toEqual([]);
        expect(await plain("entries").orderBy("n").pluck("n")).toEqual(all);
      } finally {
        await books.outbox.close();
        await plain("entries").del();
      }
    });
  });
});

/** A knex as an application has it, and one without its settings. */
async function open(engine: Engine, config: Partial<Knex.Config>) {
  if (engine.name !== "pglite") {
    const database = await engine.create();
    return { plain: database.knex, mapped: database.newKnex!(config), close: () => database.close() };
  }
  const pglite = await createPGlite();
  const [plain, mapped] = [createPGliteKnex(pglite), createPGliteKnex(pglite, config)];
  const close = async () => {
    await Promise.all([plain.destroy(), mapped.destroy()]);
    await pglite.close();
  };
  return { plain, mapped, close };
}

/** The row is written before the answer gets to the mapper. */
function ignoreMapper(error: unknown): void {
  if (!(error instanceof TypeError)) throw error;
}

describeEachEngine("a transaction", (engine) => {
  const context = useBooks(engine);
  const levels: Knex.IsolationLevels[] = ["read committed", "repeatable read", "serializable"];

  it.each(levels)("at %s has its calls run once it has committed", async (isolationLevel) => {
    const { books } = context;
    for (const [index, way] of [ambient, explicit].entries()) {
      const work = async (trx: Knex.Transaction) => {
        await trx("entries").count();
        await books.enter(way, trx, index * 10 + 1);
        await way.nest(books, trx, (inner) => books.enter(way, inner, index * 10 + 2));
      };
      await way.begin(books, work, { isolationLevel });
    }
    await books.outbox.idle();
    expect(books.ran()["publish-on-commit"]).toEqual([1, 2, 11, 12]);
    await books.expectEntries([1, 2, 11, 12]);
  });

  it("that could not be serialised runs nothing, and can be tried again", async (test) => {
    if (engine.name !== "postgresql") return test.skip("needs two sessions, and PostgreSQL's check at COMMIT");
    const { books } = context;
    // Keep-order calls by .in(trx) hold their lock from the call on, and would wait here.
    const ways: [Way, Kind[]][] = [[ambient, kinds], [explicit, ["publish-on-commit"]]]; // prettier-ignore
    for (const [way, called] of ways) {
      await books.clear();
      const skew = (n: number, between: () => unknown) => {
        const work = async (trx: Knex.Transaction) => {
          await trx("entries").count();
          await books.enter(way, trx, n, called);
          await between();
        };
        return way.begin(books, work, { isolationLevel: "serializable" });
      };
      const entered = deferred();
      const overtaken = deferred();
      const loses = skew(1, () => (entered.resolve(), overtaken.promise));
      await entered.promise;
      await skew(2, () => undefined);
      overtaken.resolve();
      await expect(loses).rejects.toMatchObject({ code: "40001" });
      const others = Object.fromEntries(kinds.filter((kind) => !called.includes(kind)).map((kind) => [kind, []]));
      await books.expectEntries([2], others);
      await skew(1, () => undefined);
      await books.expectEntries([1, 2], others);
    }
  });

  it("that is read-only takes no call", async () => {
    const { books } = context;
    for (const way of [ambient, explicit]) {
      const calls = way.begin(books, (trx) => books.call(way, trx, 1), { readOnly: true });
      await expect(calls).rejects.toMatchObject(
        engine.dialect === "pg" ? { code: "25006" } : { code: "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION" },
      );
      await way.begin(books, (trx) => trx("entries").count(), { readOnly: true });
    }
    await books.expectEntries([]);
  });

  it("that could not begin takes no call, though knex goes on with its work", async (test) => {
    if (engine.name === "pglite") return test.skip("its connection cannot be broken from outside");
    const { books, database } = context;
    const broken = knexFactory({
      client: engine.dialect,
      connection: database.connection!.url,
      log: { warn() {}, error() {} },
      pool: {
        min: 0,
        max: 1,
        afterCreate(connection: RawConnection, done: (error: null, connection: RawConnection) => void) {
          const query = connection.query.bind(connection);
          connection.query = (...args) => {
            const isBegin = JSON.stringify(args[0]).includes("BEGIN");
            if (isBegin) (args.at(-1) as (error: Error) => void)(new Error("no BEGIN today"));
            else query(...args);
          };
          done(null, connection);
        },
      },
    });
    const there = new Books(broken, { ownConnections: 0 });
    try {
      for (const way of [ambient, explicit]) {
        let refused: Promise<unknown> | undefined;
        const begun = way.begin(there, (trx) => (refused = there.call(way, trx, 1)));
        await expect(begun).rejects.toThrow("no BEGIN today");
        await expect(refused).rejects.toMatchObject({ code: "CARTEIRO_TRANSACTION_CLOSED" });
      }
    } finally {
      await there.outbox.close();
      await broken.destroy();
    }
    await books.expectEntries([]);
  });
});

interface RawConnection {
  query(...args: unknown[]): unknown;
}
