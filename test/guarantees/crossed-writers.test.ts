import type { Knex } from "knex";
import { expect, it } from "vitest";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { deferred } from "../support/waiting.js";
import { seeded } from "../support/random.js";
import { isDeadlock } from "./orders.js";

const ROUNDS = 25;

/** Resolves for everybody once all of them have come. */
function meeting(parties: number): () => Promise<void> {
  const { promise, resolve } = deferred();
  let missing = parties;
  return () => {
    if (--missing === 0) resolve();
    return promise;
  };
}

function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((one) => ({ one, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ one }) => one);
}

describeEachServer("transactions that save the same keys in different orders", (engine) => {
  const outboxes = useOutboxes(engine);

  function open() {
    const outbox = outboxes.open();
    const publish = outbox.saveToOutbox((_key: string, _by: string) => undefined, {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    const keysInOrder = async () => (await outboxes.rows()).map(({ key }) => key);
    return { outbox, publish, keysInOrder };
  }

  it("do not deadlock in outbox.transaction: A, B against B, A, each with its first call made", async () => {
    const { outbox, publish, keysInOrder } = open();
    for (let round = 0; round < ROUNDS; round++) {
      const bothSavedOne = meeting(2);
      const bothSavedAll = meeting(2);
      const save = (first: string, second: string) =>
        outbox.transaction(async () => {
          await publish(first, `${first}${second}`);
          await bothSavedOne();
          await publish(second, `${first}${second}`);
          await bothSavedAll();
        });
      await Promise.all([save("A", "B"), save("B", "A")]);
    }
    const stored = await keysInOrder();
    // One transaction's calls lie together, since the other one waited for its commit.
    const pairs = stored.filter((_, n) => n % 2 === 0).map((key, n) => key + stored[2 * n + 1]!);
    expect(pairs.toSorted()).toEqual([
      ...Array.from({ length: ROUNDS }, () => "AB"),
      ...Array.from({ length: ROUNDS }, () => "BA"),
    ]);
  });

  it("do not deadlock in outbox.transaction, however many keys and writers there are", async () => {
    const { outbox, publish, keysInOrder } = open();
    const random = seeded(7);
    const keys = Array.from({ length: 60 }, (_, n) => `key ${n}`);
    const writers = 6;
    for (let round = 0; round < 10; round++) {
      const allSaved = meeting(writers);
      await Promise.all(
        Array.from({ length: writers }, (_, writer) =>
          outbox.transaction(async () => {
            for (const key of shuffled(keys, random)) await publish(key, `${writer}`);
            await allSaved();
          }),
        ),
      );
    }
    expect(await keysInOrder()).toHaveLength(10 * writers * keys.length);
  });

  it("deadlock with .in(trx): the database refuses one as a whole, and its caller repeats it", async () => {
    const { publish, keysInOrder } = open();
    const refusals: unknown[] = [];
    const bothSavedOne = meeting(2);
    const save = async (first: string, second: string) => {
      const attempt = (meets: boolean) =>
        outboxes.knex.transaction(async (trx: Knex.Transaction) => {
          await publish.in(trx)(first, "");
          if (meets) await bothSavedOne();
          await publish.in(trx)(second, "");
        });
      await attempt(true).catch(async (error: unknown) => {
        refusals.push(error);
        const others = (await keysInOrder()).join("");
        expect(["", second + first]).toContain(others);
        await attempt(false);
      });
    };
    await Promise.all([save("A", "B"), save("B", "A")]);
    expect(refusals).toHaveLength(1);
    expect(isDeadlock(refusals[0])).toBe(true);
    expect(["ABBA", "BAAB"]).toContain((await keysInOrder()).join(""));
  });
});
