import { beforeEach, describe, expect, it } from "vitest";
import { type Outbox, UndecodablePayloadError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

// What callers in JavaScript make of `(args, fromVersion) => args`.
const NONSENSE: [what: string, upcast: () => unknown, lastError: RegExp][] = [
  ["returns nothing", () => undefined, /greet: upcast gave undefined for the arguments of version 1; it must return/],
  ["returns null", () => null, /upcast gave null/],
  ["returns a text", () => "Ana", /upcast gave string/],
  ["returns a number", () => 5, /upcast gave number/],
  ["returns what is no array", () => ({ length: 1, 0: "Ana" }), /upcast gave object/],
  ["returns a Set", () => new Set(["Ana"]), /upcast gave object/],
  ["returns a function", () => () => ["Ana"], /upcast gave function/],
  ["resolves to nothing", () => Promise.resolve(), /upcast gave undefined/],
  [
    "throws",
    () => {
      throw new Error("no such shape");
    },
    /no such shape/,
  ],
  [
    "throws nothing",
    () => {
      throw undefined; // eslint-disable-line @typescript-eslint/only-throw-error
    },
    /undefined/,
  ],
  ["rejects", () => Promise.reject(new Error("no such shape")), /no such shape/],
];

describeEachEngine("an upcast", (engine) => {
  const outboxes = useOutboxes(engine);
  let saver: Outbox;
  let ran: unknown[][];
  beforeEach(() => {
    saver = outboxes.open();
    ran = [];
  });

  const note = async (...args: unknown[]) => void ran.push(args);

  describe.each(["publish-on-commit", "keep-order"] as const)("by %s", (strategy) => {
    const key = (text: string) => (strategy === "keep-order" ? { orderingKey: text } : {});

    it.each(NONSENSE)(
      "that %s fails the run, which stops no other; mended, the call runs",
      async (_, upcast, error) => {
        const old = saver.saveToOutbox(note, { name: "greet", strategy });
        const other = saver.saveToOutbox(note, { name: "other", strategy });
        await saver.close();
        await outboxes.knex.transaction(async (trx) => {
          await old.with({ trx, ...key("a") })("Ana");
          await other.with({ trx, ...key("b") })("Rui");
        });
        const failing = outboxes.open();
        const failures: { args: readonly unknown[]; error: unknown }[] = [];
        failing.on("failed", ({ call, error: thrown }) => void failures.push({ args: call.args, error: thrown }));
        failing.saveToOutbox(note, { name: "greet", strategy, version: 2, upcast: upcast as () => [] });
        failing.saveToOutbox(note, { name: "other", strategy });
        expect(await failing.relay()).toMatchObject({ published: 1, failed: 1, dead: 0 });
        expect(ran.splice(0)).toEqual([["Rui"]]);
        expect(failures).toMatchObject([{ args: [] }]);
        if (error.source.includes("gave")) expect(failures[0]!.error).toBeInstanceOf(UndecodablePayloadError);
        const [row] = await outboxes.rows();
        expect(row).toMatchObject({ attempts: 1, lastError: expect.stringMatching(error) as unknown });
        const mended = outboxes.open();
        mended.saveToOutbox(note, { name: "greet", strategy, version: 2, upcast: ([name]) => [{ name }] });
        const due_at = outboxes.knex.raw(outboxes.dialect.now);
        for (const table of ["calls", "keys"] as const) await outboxes.table(table).update({ due_at });
        expect(await mended.relay()).toMatchObject({ published: 1 });
        expect(ran).toEqual([[{ name: "Ana" }]]);
      },
    );

    it("is not asked about a version that was never there", async () => {
      const old = saver.saveToOutbox(note, { name: "greet", strategy });
      await saver.close();
      await outboxes.knex.transaction((trx) => old.in(trx)("Ana"));
      await outboxes.table("calls").update({ version: 0 });
      const today = outboxes.open();
      let asked = 0;
      const upcast = (args: unknown[]) => [args, (asked += 1)];
      today.saveToOutbox(note, { name: "greet", strategy, version: 2, upcast });
      expect(await today.relay()).toMatchObject({ published: 0, failed: 1 });
      expect((await outboxes.rows())[0]!.lastError).toMatch(/has the version 0; the first one is 1/);
      expect({ asked, ran }).toEqual({ asked: 0, ran: [] });
    });

    it("gets each older version's arguments, also under an earlier name; the present ones pass it by", async () => {
      const seen: unknown[] = [];
      for (const [version, name] of [
        [1, "oldest"],
        [2, "older"],
        [3, "greet"],
      ] as const) {
        const outbox = outboxes.open();
        const upcast = () => [] as unknown[];
        const save = outbox.saveToOutbox(note, { name, strategy, version, upcast });
        await outbox.close();
        await outboxes.knex.transaction((trx) => save.in(trx)(version, "args"));
      }
      const today = outboxes.open();
      today.saveToOutbox(note, {
        name: "greet",
        aliases: ["oldest", "older"],
        strategy,
        version: 3,
        upcast(args, fromVersion) {
          seen.push([fromVersion, ...args]);
          args.push("upcast");
          return args;
        },
      });
      expect(await today.relay()).toMatchObject({ published: 3, failed: 0, unroutable: 0 });
      expect(seen.sort()).toEqual([
        [1, 1, "args"],
        [2, 2, "args"],
      ]);
      expect(ran.sort()).toEqual([
        [1, "args", "upcast"],
        [2, "args", "upcast"],
        [3, "args"],
      ]);
    });
  });
});
