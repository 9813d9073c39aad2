import { beforeEach, expect, it, vi } from "vitest";
import type * as storeModule from "../../src/store/store.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

type Store = storeModule.Store;

const CALLS = 3000;
const CONCURRENCY = 2;
/** What a stream's server keeps in memory at most: as many calls as it reads on with, and what it reads then. */
const MOST_IN_MEMORY = 2000;
const POLLS = 20;

/** What every store of this file was asked for. */
const seen = vi.hoisted(() => ({ polls: 0, looks: 0, fetched: new Set<string>() }));

vi.mock("../../src/store/store.js", async (importOriginal) => {
  const original = await importOriginal<typeof storeModule>();
  return {
    ...original,
    openStore(...given: Parameters<typeof original.openStore>): Store {
      const store = original.openStore(...given);
      return {
        ...store,
        async dueStreams() {
          const due = await store.dueStreams();
          seen.polls += 1;
          return due;
        },
        async fetchLine(...asked: Parameters<Store["fetchLine"]>) {
          seen.looks += 1;
          const fetched = await store.fetchLine(...asked);
          for (const call of fetched.calls) seen.fetched.add(call.id);
          return fetched;
        },
        async lookAgain(...asked: Parameters<Store["lookAgain"]>) {
          seen.looks += 1;
          const look = await store.lookAgain(...asked);
          for (const call of look.calls ?? []) seen.fetched.add(call.id);
          return look;
        },
        async readAhead(...asked: Parameters<Store["readAhead"]>) {
          const ahead = await store.readAhead(...asked);
          for (const call of ahead?.calls ?? []) seen.fetched.add(call.id);
          return ahead;
        },
        async fetchDueKeys(...asked: Parameters<Store["fetchDueKeys"]>) {
          const due = await store.fetchDueKeys(...asked);
          for (const { head } of due) if (head) seen.fetched.add(head.id);
          return due;
        },
      };
    },
  };
});

describeEachEngine("more keys than a process runs at once", (engine) => {
  const outboxes = useOutboxes(engine);
  beforeEach(() => {
    seen.polls = 0;
    seen.looks = 0;
    seen.fetched.clear();
  });

  it("wait in the table, however often the relayer polls, and a stop does not wait for them", async () => {
    const outbox = outboxes.open({ concurrency: CONCURRENCY, pollInterval: 10 });
    const opened = gate();
    const started: string[] = [];
    const publish = outbox.saveToOutbox(
      async (key: string) => {
        started.push(key);
        await opened.promise;
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
    );
    const keys = Array.from({ length: CALLS }, (_, index) => `k${index}`);
    await outbox.transaction(async () => {
      for (const key of keys) await publish(key);
    });
    const relayer = outbox.startRelayer();
    await until("all slots are taken", () => started.length === CONCURRENCY);
    const pollsBefore = seen.polls;
    await until("it has polled many times", () => seen.polls >= pollsBefore + POLLS);
    expect(await outboxes.table("keys")).toEqual([]);
    // Each further look would have brought more of them into memory.
    expect(seen.looks).toBe(1);
    expect(seen.fetched.size).toBeLessThanOrEqual(MOST_IN_MEMORY);
    expect(started).toHaveLength(CONCURRENCY);

    const stopped = relayer.stop();
    opened.resolve();
    await stopped;
    expect(started).toHaveLength(CONCURRENCY);
    expect(await outboxes.rows()).toHaveLength(CALLS - CONCURRENCY);
    expect(await outbox.relay()).toMatchObject({ published: CALLS - CONCURRENCY, failed: 0, blockedCount: 0 });
    expect(started.toSorted()).toEqual(keys.toSorted());
    expect([await outboxes.rows(), await outboxes.table("keys")]).toEqual([[], []]);
  });
});
