import { expect, it } from "vitest";
import { pino } from "pino";
import { Events } from "../../src/events.js";
import { Registry } from "../../src/registry.js";
import { Pass } from "../../src/run/pass.js";
import { Slots } from "../../src/run/slots.js";
import { superjsonCodec } from "../../src/codec.js";
import type { QueuedCall } from "../../src/store/fetch-stream.js";
import type { StreamSettlement } from "../../src/store/serve-stream.js";
import { Lane } from "../../src/strategies/lane.js";
import type { LaneParts } from "../../src/strategies/lane-parts.js";
import { definitionOf, runContext, storedCall, heldKeeper, slotsWithSuspects } from "../support/definitions.js";
import { deferred, until } from "../support/waiting.js";

const KEY = Buffer.from("a");

function queued(seq: number): QueuedCall {
  return {
    ...storedCall({ seq, id: `call-${seq}`, strategy: "keep-order", orderingKey: KEY }),
    isDue: true,
    keyName: "a",
  };
}

it("a lane steps aside with its running head and what has run without being settled, once", async () => {
  const logger = pino({ level: "silent" });
  const registry = new Registry(superjsonCodec);
  const runs: (() => void)[] = [];
  registry.register(
    definitionOf({ strategy: "keep-order", fn: () => new Promise<void>((resolve) => runs.push(resolve)) }),
  );
  const written: StreamSettlement[] = [];
  const answer = deferred<boolean>();
  const hasEnded = deferred();
  const parts: LaneParts = {
    lease: { stream: "default", token: "token", fence: 1, isTakenOver: false },
    pass: new Pass({}),
    keeper: heldKeeper(),
    store: { fetchHeld: () => Promise.resolve([]) },
    registry,
    ...slotsWithSuspects(new Slots(1)),
    isSuspect: () => false,
    takeSuspicion: () => undefined,
    events: new Events(logger),
    logger,
    context: runContext({ registry }),
    pollIntervalMs: 1000,
    settle(one) {
      written.push(one.settlement);
      void answer.promise.then((isSettled) => one.lane.settled(one, isSettled));
    },
    partOfPass: (calls) => calls,
    onUnroutable: () => undefined,
    onEnded: () => hasEnded.resolve(),
  };
  const lane = new Lane(parts, "a", [queued(1), queued(2)], "line");
  expect(lane.stepAside()).toBeUndefined();
  lane.start();
  await until("the first call runs", () => runs.length === 1);
  runs[0]!();
  await until("the second call runs", () => runs.length === 2);
  expect(written).toEqual([{ kind: "delete", seq: 1 }]);

  expect(lane.stepAside()).toEqual({ head: { seq: 2, attempts: 0 }, unsettled: [1] });
  expect(lane.isAside).toBe(true);
  expect(lane.stepAside()).toBeUndefined();

  runs[1]!();
  answer.resolve(true);
  await hasEnded.promise;
  expect(written).toEqual([
    { kind: "delete", seq: 1 },
    { kind: "delete", seq: 2 },
    { kind: "release", key: KEY },
  ]);
});
