import { isDeepStrictEqual } from "node:util";
import { beforeEach, describe, expect, it } from "vitest";
import { currentCall, type FunctionOptions, type Outbox, type SavedFunction } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

interface Order {
  items: string[];
  placed: Date;
  tags: Map<string, Set<number>>;
  bytes: Buffer;
  total: bigint;
  note?: string | undefined;
}

const newOrder = (): Order => ({
  items: ["a", "b"],
  placed: new Date(1000),
  tags: new Map([["first", new Set([1, 2])]]),
  bytes: Buffer.from("abc"),
  total: 5n,
  note: undefined,
});

function spoil(order: Order): void {
  order.items.push("late");
  order.placed.setTime(2000);
  order.tags.get("first")?.add(3);
  order.tags.set("second", new Set());
  order.bytes.fill("x");
  order.total += 1n;
  order.note = "late";
}

type Send = SavedFunction<[order: Order, all: Order[]], unknown>;

const kinds: [string, FunctionOptions<[Order, Order[]]>][] = [
  ["publish-on-commit", {}],
  ["keep-order", { strategy: "keep-order", orderingKey: (order) => order.items.join() }],
  ["on-failure", { persist: "on-failure" }],
  ["in no transaction", { requireTransaction: false }],
  ["on-failure, in no transaction", { persist: "on-failure", requireTransaction: false }],
];

describeEachEngine("what was passed to a call", (engine) => {
  const outboxes = useOutboxes(engine);
  let outbox: Outbox;
  let seen: unknown[];
  beforeEach(() => {
    outbox = outboxes.open({ retry: { initialDelay: 0 } });
    seen = [];
  });
  const settle = async () => {
    await outbox.idle();
    for (let pass = 0; pass < 4; pass++) await outbox.relay();
  };
  const ways: [string, (send: Send, order: Order) => Promise<unknown>][] = [
    ["outbox.transaction", (send, order) => outbox.transaction(() => saveAndSpoil(send, order))],
    ["outbox.transaction, unawaited", (send, order) => outbox.transaction(() => void saveAndSpoil(send, order))],
    ["db.transaction", (send, order) => outboxes.knex.transaction((trx) => saveAndSpoil(send.in(trx), order))],
  ];
  /** Spoils it at once, and again when it is saved. */
  const saveAndSpoil = async (save: (order: Order, all: Order[]) => Promise<unknown>, order: Order) => {
    const saved = save(order, [order]);
    spoil(order);
    await saved;
    spoil(order);
  };

  describe.each(kinds)("%s", (_, options) => {
    it.each(ways)("is what every run gets, whatever became of it since: %s", async (name, save) => {
      const work = async (order: Order, all: Order[]) => {
        seen.push(isDeepStrictEqual([order, all], [newOrder(), [newOrder()]]) && order === all[0]);
        // What a run does to its arguments is its own affair.
        spoil(order);
        if (currentCall()!.attempt < 3) throw new Error("down");
      };
      const send: Send = outbox.saveToOutbox(work, { name: "send", ...options });
      const order = newOrder();
      const isAlone = options.requireTransaction === false && name === "outbox.transaction";
      await (isAlone ? saveAndSpoil(send, order) : save(send, order));
      spoil(order);
      await settle();
      expect(seen).toEqual([true, true, true]);
      expect(await outboxes.rows()).toEqual([]);
    });

    it("has one id, in every attempt and every event", async () => {
      const work = async () => {
        seen.push(currentCall()!.id);
        if (currentCall()!.attempt < 3) throw new Error("down");
      };
      for (const event of ["failed", "published"] as const) outbox.on(event, ({ call }) => void seen.push(call.id));
      const { strategy, persist, requireTransaction } = options;
      const send = outbox.saveToOutbox(work, { name: "send", strategy, persist, requireTransaction });
      const saved = await outbox.transaction(async (trx) => [await send(), await send.in(trx)()]);
      await settle();
      await settle();
      const [first, second] = saved.map(({ id }) => id) as [string, string];
      for (const id of [first, second]) {
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(seen.filter((one) => one === id)).toHaveLength(6);
      }
      expect(seen).toHaveLength(12);
      expect(first < second).toBe(true);
    });
  });
});
