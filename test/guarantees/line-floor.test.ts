import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openStore, type Store } from "../../src/store/store.js";
import { resolveTables } from "../../src/store/tables.js";
import { LineFloor } from "../../src/strategies/line-floor.js";
import { inLine } from "../store/support.js";
import { engines } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

const engine = engines.find(({ name }) => name === "postgresql")!;

describe.skipIf(engine.skipReason !== undefined)("the floor of a line", () => {
  const outboxes = useOutboxes(engine);
  let store: Store;

  beforeEach(() => {
    const { knex, dialect, tablePrefix } = outboxes;
    const tables = resolveTables({ tablePrefix }, dialect);
    store = openStore({ knex, tables, ownConnections: 2, writersLock: true, leaseMs: 60_000 });
    vi.useFakeTimers({ toFake: ["performance"] });
  });

  afterEach(async () => {
    vi.useRealTimers();
    await store.close();
  });

  /** Reads, each long enough after the one before for a look at the writers. */
  async function read(floor: LineFloor, seqs: readonly string[]): Promise<void> {
    for (const seq of seqs) {
      vi.advanceTimersByTime(1000);
      await floor.raise(seq);
    }
  }

  it("is not raised while a transaction is open that has written a call, and is at the read after its end", async () => {
    const trx = await outboxes.knex.transaction();
    await store.insert(trx, [inLine("late")]);
    await store.insertAlone([inLine("other")]);
    const floor = new LineFloor(store);
    await read(floor, ["10", "20", "30", "40"]);
    expect(floor.seq).toBeUndefined();
    await trx.commit();
    await read(floor, ["50"]);
    expect(floor.seq).toBeUndefined();
    await read(floor, ["60"]);
    expect(floor.seq).toBe("10");
  });

  it("is raised beside a transaction that has only read", async () => {
    const trx = await outboxes.knex.transaction(undefined, { isolationLevel: "repeatable read" });
    await trx.raw(`select count(*) from ${outboxes.tablePrefix}calls`);
    const floor = new LineFloor(store);
    await read(floor, ["10", "20", "30"]);
    expect(floor.seq).toBeDefined();
    floor.reset();
    expect(floor.seq).toBeUndefined();
    await trx.rollback();
  });

  it("does not wait for writers that begin later, who get a larger seq", async () => {
    const floor = new LineFloor(store);
    await read(floor, ["10"]);
    const trx = await outboxes.knex.transaction();
    await store.insert(trx, [inLine("later")]);
    await read(floor, ["20", "30"]);
    expect(floor.seq).toBe("10");
    await trx.rollback();
  });

  it("has a look behind it name no call in front of it", async () => {
    await store.insertAlone([inLine("a"), inLine("b"), inLine("c")]);
    const lease = (await store.acquireStream("line"))!;
    const { calls } = await store.fetchLine(lease, 10);
    const [a, b, c] = calls.map(({ seq }) => seq);
    const names = async (floor?: typeof a) => (await store.readAhead(lease, c!, 10, [], floor))!.before.sort();
    expect(await names()).toEqual([a, b, c].map(String).sort());
    expect(await names(a)).toEqual([b, c].map(String).sort());
  });
});
