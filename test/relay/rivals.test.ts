import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { checkHistory, NO_FAULTS, type Run } from "../guarantees/history.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const KEYS = ["a", "b", "c", "d", "e", "f"];
const CALLS_PER_KEY = 60;
const processOptions = { retry: { initialDelay: 1, jitter: 0 }, pollInterval: 20, concurrency: 4 };

describeEachServer("relayers of several processes on one stream", (engine) => {
  const outboxes = useOutboxes(engine);

  it.each([2, 3])("run no two calls of a key at once, and all in order: %i of them", async (count) => {
    const runs: Run[] = [];
    const processes = Array.from({ length: count }, (_, process) => {
      const outbox = process === 0 ? outboxes.open(processOptions) : outboxes.openRival(processOptions);
      const publish = outbox.saveToOutbox(
        async (key: string, place: number) => {
          const startedAt = performance.now();
          for (let n = 0; n < 1 + ((place * 7) % 5); n++) await turn();
          // Now and then one fails, whoever runs it.
          const succeeded = (place + runs.length) % 7 !== 0;
          runs.push({ key, place, startedAt, endedAt: performance.now(), succeeded });
          if (!succeeded) throw new Error("down");
        },
        { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
      );
      return { outbox, publish };
    });
    const relayers = processes.map(({ outbox }) => outbox.startRelayer({ interval: 5 }));
    // Each commits calls of keys of its own, so that the order of the commits is known.
    const saving = processes.map(async ({ outbox, publish }, process) => {
      for (let place = 1; place <= CALLS_PER_KEY; place++) {
        await outbox.transaction(async () => {
          for (const key of KEYS) await publish(`${key}${process}`, place);
        });
        await turn();
      }
    });
    await Promise.all(saving);
    await until("all have run", async () => (await outboxes.rows()).length === 0, 25_000);
    await Promise.all(relayers.map((relayer) => relayer.stop()));
    const committed = new Map(
      processes.flatMap((_, process) => KEYS.map((key) => [`${key}${process}`, CALLS_PER_KEY] as const)),
    );
    expect(checkHistory(runs, committed)).toEqual(NO_FAULTS);
    expect(runs.some(({ succeeded }) => !succeeded)).toBe(true);
  });

  it("take turns, call by call, and keep the order of one key", async () => {
    const processes = [
      outboxes.open(processOptions),
      outboxes.openRival(processOptions),
      outboxes.openRival(processOptions),
    ];
    const runs: Run[] = [];
    const ranBy: number[] = [];
    const saves = processes.map((outbox, process) =>
      outbox.saveToOutbox(
        async (place: number) => {
          const startedAt = performance.now();
          await turn();
          ranBy.push(process);
          runs.push({ key: "", place, startedAt, endedAt: performance.now(), succeeded: true });
        },
        { name: "publish", strategy: "keep-order", stream: "orders" },
      ),
    );
    const total = 120;
    await processes[0]!.transaction(async () => {
      for (let place = 1; place <= total; place++) await saves[0]!(place);
    });
    await until("all have run", async () => {
      await Promise.all(processes.map((outbox) => outbox.relay({ limit: 3 })));
      return (await outboxes.rows()).length === 0;
    });
    expect(checkHistory(runs, new Map([["", total]]))).toEqual(NO_FAULTS);
    expect(new Set(ranBy).size).toBe(3);
  });
});
