import { expect, it } from "vitest";
import { superjsonCodec } from "../../src/codec.js";
import { Events } from "../../src/events.js";
import { Registry } from "../../src/registry.js";
import { Pass } from "../../src/run/pass.js";
import { Slots } from "../../src/run/slots.js";
import type { ClaimedCall } from "../../src/store/claim-calls.js";
import type { Store } from "../../src/store/store.js";
import { PublishOnCommit } from "../../src/strategies/publish-on-commit.js";
import type { OutboxEventName } from "../../src/types.js";
import { definitionOf, runContext, storedCall, slotsWithSuspects } from "../support/definitions.js";
import { deferred, until } from "../support/waiting.js";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** The strategy on a store of a test's own, with one function, `note`. */
function publishOnCommit(store: Partial<Store>, fn: () => unknown, leaseMs = 60_000) {
  const registry = new Registry(superjsonCodec);
  const events = new Events(silent);
  const seen: OutboxEventName[] = [];
  for (const name of ["published", "failed", "leaseLost"] as const) events.on(name, () => void seen.push(name));
  registry.register(definitionOf({ fn }));
  const strategy = new PublishOnCommit({
    store: store as Store,
    registry,
    ...slotsWithSuspects(new Slots(4)),
    events,
    logger: silent,
    leaseMs,
    context: runContext({ registry }),
  });
  const idle = async () => {
    for (let running = [...strategy.running]; running.length > 0; running = [...strategy.running]) {
      await Promise.all(running);
    }
  };
  return { strategy, seen, idle };
}

function claimed(id: string): ClaimedCall {
  return { ...storedCall({ seq: id, id }), lease: { seq: id, token: "token" }, isSuspect: false };
}

it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
  "follows a hint that comes %i microtasks after the claim of the last one",
  async (microtasks) => {
    const asked: string[] = [];
    const firstClaim = deferred<ClaimedCall[]>();
    const { strategy, idle } = publishOnCommit(
      {
        claimById: async (ids) => {
          asked.push(...ids);
          return ids.includes("first") ? firstClaim.promise : [];
        },
      },
      () => undefined,
    );
    strategy.hint(["first"]);
    await new Promise((resolve) => setImmediate(resolve));
    firstClaim.resolve([]);
    for (let n = 0; n < microtasks; n++) await Promise.resolve();
    strategy.hint(["second"]);
    await idle();
    expect(asked).toEqual(["first", "second"]);
  },
);

it("leaves calls to the relay whose claim fails, and goes on with the next hint", async () => {
  const asked: string[] = [];
  const { strategy, idle } = publishOnCommit(
    {
      claimById: async (ids) => {
        asked.push(...ids);
        throw new Error("down");
      },
    },
    () => undefined,
  );
  for (const id of ["a", "b", "c", "d", "e", "f"]) {
    strategy.hint([id]);
    await idle();
  }
  expect(asked).toEqual(["a", "b", "c", "d", "e", "f"]);
});

it("does not take a call's lease for lost because the call is gone, settled, before its settling has answered", async () => {
  const [settling, renewed] = [deferred<never[]>(), deferred()];
  const { strategy, seen, idle } = publishOnCommit(
    {
      claimById: async (ids) => ids.map(claimed),
      settleCalls: () => settling.promise,
      renewCalls: async () => {
        renewed.resolve();
        return [];
      },
    },
    () => undefined,
    30,
  );
  strategy.hint(["a"]);
  await renewed.promise;
  await new Promise((resolve) => setImmediate(resolve));
  settling.resolve([]);
  await idle();
  expect(seen).toEqual(["published"]);
});

it("gives every slot back, whatever the claims bring", async () => {
  let isAtOnce = 0;
  let most = 0;
  const { strategy, idle } = publishOnCommit(
    { claimById: async (ids) => ids.filter((id) => id.endsWith("!")).map(claimed), settleCalls: async () => [] },
    async () => {
      most = Math.max(most, (isAtOnce += 1));
      await new Promise((resolve) => setImmediate(resolve));
      isAtOnce -= 1;
    },
  );
  for (let round = 0; round < 20; round++) strategy.hint([`${round}a!`, `${round}b`, `${round}c!`, `${round}d`]);
  await idle();
  strategy.hint(["w!", "x!", "y!", "z!", "0!"]);
  await idle();
  expect(most).toBe(4);
});

it.each<[how: string, pass: () => Pass, end: (pass: Pass) => unknown]>([
  ["was stopped", () => new Pass({}), (pass) => pass.stop()],
  [
    "reached its deadline",
    () => new Pass({ deadline: new Date(Date.now() + 30) }),
    (pass) => until("it has passed", () => pass.isOver),
  ],
])("gives back what it has claimed when its pass %s meanwhile, and runs nothing", async (_how, open, end) => {
  const claim = deferred<ClaimedCall[]>();
  const released: unknown[] = [];
  let [ran, isAtOnce, most] = [0, 0, 0];
  const { strategy, seen, idle } = publishOnCommit(
    {
      claimDue: () => claim.promise,
      releaseCalls: async (leases, delayMs) => void released.push([leases.map(({ seq }) => seq), delayMs]),
      claimById: async (ids) => ids.map(claimed),
      settleCalls: async () => [],
    },
    async () => {
      ran += 1;
      most = Math.max(most, (isAtOnce += 1));
      await new Promise((resolve) => setImmediate(resolve));
      isAtOnce -= 1;
    },
  );
  const pass = open();
  const relayed = strategy.relay("default", pass);
  await new Promise((resolve) => setImmediate(resolve));
  await end(pass);
  claim.resolve([claimed("a"), claimed("b")]);
  await relayed;
  await pass.settled();
  expect([ran, seen, released]).toEqual([0, [], [[["a", "b"], 0]]]);
  // All slots are free again.
  strategy.hint(["1", "2", "3", "4"]);
  await idle();
  expect([ran, most]).toEqual([4, 4]);
});
