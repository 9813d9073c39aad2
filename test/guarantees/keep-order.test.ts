import { afterEach, expect, it } from "vitest";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";
import { seeded } from "../support/random.js";
import { NO_FAULTS } from "./history.js";
import { type OrderRun, publishOptions, Shop, type Way, ways } from "./orders.js";
import { type Relays, startRelays } from "./relays.js";

const WRITERS = 8;
const TRANSACTIONS_PER_WRITER = 40;
const RELAYS = 3;

describeEachServer("keep-order is commit order", (engine) => {
  const outboxes = useOutboxes(engine);
  let relays: Relays | undefined;
  afterEach(() => relays?.kill());

  async function openShop(options: Parameters<typeof outboxes.open>[0] = {}) {
    const outbox = outboxes.open(options);
    const runs: OrderRun[] = [];
    const publish = outbox.saveToOutbox(async (order: string, key: string) => {
      const at = performance.now();
      runs.push({ order, key, startedAt: at, endedAt: at, succeeded: true });
    }, publishOptions);
    const shop = new Shop(outboxes.knex, outbox, publish);
    await shop.open();
    return { outbox, shop, runs };
  }

  it.each<[where: string, among: readonly Way[], mayDeadlock: boolean]>([
    ["before and after the application's own row lock, by both ways", ways, true],
    [
      "in outbox.transaction, or after the application's own row lock: then no transaction is a deadlock's victim",
      ways.filter(({ by, saves }) => by === "outbox.transaction" || saves === "after"),
      false,
    ],
  ])(
    `with ${WRITERS} writers, rollbacks, failing runs and ${RELAYS} relaying processes, saved %s`,
    { timeout: 120_000 },
    async (_where, among, mayDeadlock) => {
      const seed = Date.now() % 1_000_000;
      const { outbox, shop } = await openShop();
      const { tablePrefix, database } = outboxes;
      relays = startRelays(RELAYS, { ...database.connection!, tablePrefix, seed });
      await relays.ready;
      const victims = await shop.write(seeded(seed), WRITERS, TRANSACTIONS_PER_WRITER, among);
      const isEmpty = async () => (await outbox.calls.list({ limit: 1 })).length === 0;
      await until("every call has succeeded", isEmpty, 80_000);
      await relays.leave();

      const { faults, orders } = await shop.check(relays.runs);
      expect(faults, `seed ${seed}`).toEqual(NO_FAULTS);
      if (!mayDeadlock) expect(victims).toEqual([]);
      expect(orders.length).toBeGreaterThan(WRITERS * TRANSACTIONS_PER_WRITER * 0.4);
      expect(relays.runs.some((run) => !run.succeeded)).toBe(true);
      expect(new Set(relays.runs.map(({ relay }) => relay)).size).toBeGreaterThan(1);
    },
  );

  const before: Way = { by: ".in(trx)", saves: "before" };

  it("is given up with writersLock: false: the same history shows an inversion, and loses nothing", async () => {
    const { outbox, shop, runs } = await openShop({ writersLock: false });
    const [isSaved, mayCommit] = [gate(), gate()];
    const first = shop.place("saved first", "a", before, () => {
      isSaved.resolve();
      return mayCommit.promise;
    });
    await isSaved.promise;
    await shop.place("committed first", "a", before, async () => {});
    mayCommit.resolve();
    await first;
    expect(await outbox.relay()).toMatchObject({ published: 2 });
    const { faults } = await shop.check(runs);
    expect(faults).toMatchObject({ inversions: ["a/2 before a/1"], overlaps: [], phantoms: [] });
    expect(runs.map(({ order }) => order)).toEqual(["saved first", "committed first"]);
  });

  it("follows from the application's own lock with writersLock: false, where calls are saved under it", async () => {
    const { outbox, shop, runs } = await openShop({ writersLock: false });
    const under = ways.filter(({ by, saves }) => by === "outbox.transaction" || saves === "after");
    await shop.write(seeded(1), WRITERS, 10, under);
    await outbox.relay();
    expect((await shop.check(runs)).faults).toEqual(NO_FAULTS);
  });
});
