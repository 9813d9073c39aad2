import pino from "pino";
import { expect, it } from "vitest";
import { superjsonCodec } from "../../src/codec.js";
import { Events } from "../../src/events.js";
import { Registry } from "../../src/registry.js";
import { Pass } from "../../src/run/pass.js";
import { Slots } from "../../src/run/slots.js";
import type { Store } from "../../src/store/store.js";
import { StreamServer } from "../../src/strategies/stream-server.js";
import { definitionOf, runContext, slotsWithSuspects, storedCall } from "../support/definitions.js";
import { gate, until } from "../support/waiting.js";

it("who serves a stream answers to a person's changes also after an outcome could not be written, while another key's call still runs", async () => {
  const slow = gate();
  const registry = new Registry(superjsonCodec);
  const order = { strategy: "keep-order" } as const;
  registry.register(definitionOf({ ...order, name: "slow", fn: () => slow.promise }));
  registry.register(definitionOf({ ...order, name: "refused" }));
  const inLine = (seq: number, functionName: string) => ({
    ...storedCall({ ...order, seq, functionName, orderingKey: Buffer.from(functionName) }),
    isDue: true,
    keyName: functionName,
  });
  let refusals = 0;
  let hasConfirmed = false;
  const store: Partial<Store> = {
    readChanges: () => Promise.resolve({ epoch: 1, isNew: refusals >= 2 && !hasConfirmed, isPaused: false }),
    confirmChanges: () => Promise.resolve(void (hasConfirmed = true)),
    lookAgain: () => Promise.resolve({ isLost: false }),
    fetchDueKeys: () => Promise.resolve([]),
    fetchLine: () => Promise.resolve({ calls: [inLine(1, "slow"), inLine(2, "refused")], aside: [] }),
    releaseStream: () => Promise.resolve(),
    settleStream(_lease, [settlement]) {
      if (settlement?.kind !== "delete" || settlement.seq !== 2) return Promise.resolve(true);
      refusals += 1;
      return Promise.reject(new Error("refused"));
    },
  };
  const logger = pino({ level: "silent" });
  const server = new StreamServer(
    {
      ...{ store: store as Store, registry, logger, events: new Events(logger), context: runContext({ registry }) },
      ...{ ...slotsWithSuspects(new Slots(10)), leaseMs: 20, concurrency: 10, pollIntervalMs: 10 },
    },
    { stream: "default", token: "token", fence: 1, isTakenOver: false },
    performance.now() + 3_600_000,
    new Pass({}),
  );
  const serving = server.serve();
  await until("the change is confirmed", () => hasConfirmed);
  slow.resolve();
  await expect(serving).rejects.toThrow("refused");
});
