import { afterEach, describe, expect, it, vi } from "vitest";
import { Events } from "../../src/events.js";
import { currentCall, LeaseLostError, type OutboxEvents } from "../../src/index.js";
import { StreamLeaseKeeper } from "../../src/strategies/stream-lease.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

const LEASE_MS = 1000;

describeEachEngine("a stream's lease", (engine) => {
  const outboxes = useOutboxes(engine);

  /** A process that is running a1, and another that would like to. */
  async function open(options: Parameters<typeof outboxes.open>[0] = {}) {
    const [outbox, rival] = [outboxes.open(options), outboxes.openRival(options)];
    const [started, opened] = [deferred(), gate()];
    const lost: OutboxEvents["leaseLost"][] = [];
    const settled: string[] = [];
    const signals: AbortSignal[] = [];
    const [ran, theirs]: string[][] = [[], []];
    outbox.on("leaseLost", (event) => void lost.push(event));
    for (const name of ["published", "failed", "blocked"] as const) outbox.on(name, () => void settled.push(name));
    const definition = { name: "publish", strategy: "keep-order", stream: "orders" } as const;
    const publish = outbox.saveToOutbox(
      async (key: string, n: number) => {
        signals.push(currentCall()!.signal);
        if (key === "a" && n === 1) {
          started.resolve();
          await opened.promise;
        }
        ran!.push(`${key}${n}`);
      },
      { ...definition, orderingKey: (key) => key },
    );
    rival.saveToOutbox(async (key: string, n: number) => void theirs!.push(`${key}${n}`), {
      ...definition,
      orderingKey: (key) => key,
    });
    await outbox.transaction(async () => {
      for (const n of [1, 2, 3]) await publish("a", n);
    });
    return { outbox, rival, started, opened, lost, settled, signals, ran: ran!, theirs: theirs! };
  }

  type Process = Awaited<ReturnType<typeof open>>;

  const ways: [when: string, begin: (process: Process) => Promise<unknown>][] = [
    ["goes on", ({ outbox }) => outbox.relay()],
    ["has reached its limit", ({ outbox }) => outbox.relay({ limit: 1 })],
    ["has passed its deadline", ({ outbox }) => outbox.relay({ deadline: new Date(Date.now() + 1500) })],
    [
      "is being stopped",
      async ({ outbox, started }) => {
        const relayer = outbox.startRelayer({ interval: 5 });
        await started.promise;
        await relayer.stop();
      },
    ],
  ];
  // Why a pass is over is the same to every database, and each of these takes its seconds.
  const tried = engine.name === "pglite" ? ways : ways.slice(0, 1);

  it.each(tried)("is renewed while a run lasts longer than it, while the pass %s", async (_when, begin) => {
    const process = await open({ lease: LEASE_MS });
    const { rival, started, opened, lost, ran, theirs } = process;
    const relayed = begin(process);
    await started.promise;
    const firstEnd = await outboxes.streamLeaseEnd();
    await until("it was held three times as long as it is", async () => {
      expect(await rival.relay()).toMatchObject({ published: 0 });
      return (await outboxes.streamLeaseEnd()) > firstEnd + 2 * LEASE_MS;
    });
    opened.resolve();
    await relayed;
    expect(theirs).toEqual([]);
    expect(ran[0]).toBe("a1");
    await rival.relay();
    expect([...ran, ...theirs]).toEqual(["a1", "a2", "a3"]);
    expect(lost).toEqual([]);
  });

  it("that is lost aborts what runs, and nothing is settled", async () => {
    const { outbox, rival, started, opened, lost, settled, signals, ran, theirs } = await open({ lease: LEASE_MS });
    const relayed = outbox.relay();
    await started.promise;
    await outboxes.stealLeases();
    await until("the signal has fired", () => signals[0]!.aborted);
    expect(signals[0]!.reason).toBeInstanceOf(LeaseLostError);
    opened.resolve();
    expect(await relayed).toMatchObject({ published: 0, failed: 0 });
    expect(ran).toEqual(["a1"]);
    expect(settled).toEqual([]);
    expect(lost).toEqual([{ stream: "orders" }]);
    expect((await outboxes.rows()).map(({ state, attempts }) => [state, attempts])).toEqual([
      ["pending", 0],
      ["pending", 0],
      ["pending", 0],
    ]);
    expect(await outboxes.table("streams").whereNotNull("lease_token")).toHaveLength(1);
    await outboxes.expireLeases();
    expect(await rival.relay()).toMatchObject({ published: 3 });
    expect(theirs).toEqual(["a1", "a2", "a3"]);
  });

  it("that is found lost only when a run is settled is told of once", async () => {
    const { outbox, started, opened, lost, settled, ran } = await open({ lease: "1h" });
    const relayed = outbox.relay();
    await started.promise;
    await outboxes.stealLeases();
    opened.resolve();
    expect(await relayed).toMatchObject({ published: 0, failed: 0 });
    expect(lost).toEqual([{ stream: "orders" }]);
    expect(settled).toEqual([]);
    expect(ran).toContain("a1");
    expect(await outboxes.rows()).toHaveLength(3);
  });

  it("is free as soon as its stream has been served", async () => {
    const { outbox, opened } = await open({ lease: "1h" });
    opened.resolve();
    await outbox.relay();
    expect(await outboxes.table("streams").select("lease_token", "lease_until")).toEqual([
      { lease_token: null, lease_until: null },
    ]);
  });
});

describe("the keeper of a stream's lease", () => {
  afterEach(() => void vi.useRealTimers());

  describe("by this process's own clock", () => {
    const LEASE_MS = 300;

    function keeperOf(renewStream: () => Promise<boolean>, askedAt = performance.now()) {
      const logger = { debug() {}, info() {}, warn() {}, error() {} };
      const lease = { stream: "orders", token: "t", fence: 1, isTakenOver: false };
      const lost: unknown[] = [];
      const onLost = () => lost.push("onLost");
      const parts = { events: new Events(logger), logger, lease, leaseMs: LEASE_MS };
      return { lost, keeper: new StreamLeaseKeeper({ ...parts, store: { renewStream }, askedAt, onLost }) };
    }

    it.each([
      ["is refused", () => Promise.reject(new Error("ECONNRESET"))],
      ["never comes", () => new Promise<never>(() => undefined)],
    ])("a lease is lost when it has ended and every answer %s; what runs is aborted", async (_how, answer) => {
      vi.useFakeTimers();
      const { keeper, lost } = keeperOf(answer);
      const { signal } = keeper.begin();
      const aborted = new Promise((resolve) => (signal.onabort = resolve));
      await vi.advanceTimersByTimeAsync(LEASE_MS - 1);
      expect([keeper.isSure, keeper.isLost]).toEqual([true, false]);
      await vi.advanceTimersByTimeAsync(1);
      expect([keeper.isSure, keeper.isLost, lost]).toEqual([false, true, ["onLost"]]);
      await aborted;
    });

    it("after a long block the database is asked first, before a run may start", async () => {
      vi.useFakeTimers();
      const renewal = deferred<boolean>();
      const { keeper, lost } = keeperOf(() => renewal.promise, performance.now() - LEASE_MS);
      expect(keeper.isSure).toBe(false);
      const asked = keeper.renew();
      renewal.resolve(true);
      await asked;
      expect([keeper.isSure, keeper.isLost, lost]).toEqual([true, false, []]);
      keeper.stop();
    });
  });

  it("does not take a lease for lost that was released while its renewal was on the way", async () => {
    vi.useFakeTimers();
    const logger = { debug() {}, info() {}, warn() {}, error() {} };
    const events = new Events(logger);
    const lost: unknown[] = [];
    events.on("leaseLost", (event) => void lost.push(event));
    const renewal = deferred<boolean>();
    const keeper = new StreamLeaseKeeper({
      store: { renewStream: () => renewal.promise },
      events,
      logger,
      lease: { stream: "orders", token: "t", fence: 1, isTakenOver: false },
      leaseMs: 300,
      askedAt: performance.now(),
      onLost: () => lost.push("onLost"),
    });
    await vi.advanceTimersByTimeAsync(100);
    keeper.stop();
    renewal.resolve(false);
    await vi.advanceTimersByTimeAsync(1000);
    expect(lost).toEqual([]);
    expect(keeper.isLost).toBe(false);
  });
});
