import { afterAll, expect, test } from "vitest";
import type { NewCall } from "../../src/store/insert-calls.js";
import { describeEachEngine, type Engine } from "../support/databases.js";
import { aCall, insert, type StoreUnderTest, useStore } from "./support.js";

// Neither this process nor its sessions count in UTC here, nor the two in the same zone.
const zoneBefore = process.env.TZ;
process.env.TZ = "Asia/Kathmandu";
afterAll(() => {
  if (zoneBefore === undefined) delete process.env.TZ;
  else process.env.TZ = zoneBefore;
});

const HOUR_MS = 60 * 60 * 1000;

const MOMENTS = {
  "the beginning of 1970": 0,
  "a millisecond after it": 1,
  "a moment in a gap of summer time": Date.parse("2021-03-28T01:30:00.123Z"),
  "an hour that comes twice": Date.parse("2021-10-31T01:30:00.999Z"),
  "a leap day": Date.parse("2024-02-29T23:59:59.999Z"),
  "2038, after the end of 32 bits": Date.parse("2038-01-19T03:14:08.001Z"),
  "the last day of 9999": Date.parse("9999-12-31T00:00:00.000Z"),
  "the last but one of 9999, to the millisecond": Date.parse("9999-12-30T23:59:59.999Z"),
};

describeEachEngine("when an inserted call is due", (engine) => {
  const plain = useStore(engine);
  test("the process is in another zone than UTC", () => {
    expect(new Date(0).getTimezoneOffset()).toBe(-330);
  });
  dueMoments(() => plain);
});

describeEachEngine("when an inserted call is due, by sessions on the other side of the earth", (engine) => {
  const far = useStore(engine);
  const session = farSession(engine);
  dueMoments(() => {
    if (engine.name === "pglite") return far;
    const knex = far.poolWith(session);
    return { ...far, knex, store: far.openAnother({ knex }) };
  }, session);
});

function farSession(engine: Engine): string {
  return engine.dialect === "pg" ? "set time zone 'Pacific/Kiritimati'" : "set time_zone = '+12:45'";
}

function dueMoments(open: () => StoreUnderTest, setting?: string): void {
  const due = async (call: Partial<NewCall>) => {
    const under = open();
    if (setting !== undefined) await under.knex.raw(setting);
    const { store } = under;
    const before = await store.readClock();
    const [{ id }] = (await insert(under, [aCall(call)])) as [NewCall];
    const after = await store.readClock();
    const [row] = await under.rows();
    const listed = await store.listCalls({ limit: 10 });
    const claimed = await store.claimDue("default", 1);
    return { id, before, after, row: row!, claimed, listed };
  };

  test("at once, on the database's clock", async () => {
    const { id, before, after, row, claimed } = await due({});
    expect(row.createdMs).toBeGreaterThanOrEqual(before);
    expect(row.createdMs).toBeLessThanOrEqual(after);
    expect(row.dueMs).toBeGreaterThanOrEqual(before);
    expect(row.dueMs).toBeLessThanOrEqual(after);
    expect(Math.abs(before - Date.now())).toBeLessThan(HOUR_MS / 4);
    expect(claimed.map((call) => call.id)).toEqual([id]);
    expect(claimed[0]!.createdAtMs).toBe(row.createdMs);
    expect(claimed[0]!.ageMs).toBeGreaterThanOrEqual(0);
    expect(claimed[0]!.ageMs).toBeLessThan(HOUR_MS / 4);
    expect(Math.abs(claimed[0]!.clockOffsetMs)).toBeLessThan(HOUR_MS / 4);
  });

  test.each([1, 1500, HOUR_MS, 20 * 365 * 24 * HOUR_MS])("after a delay of %i ms", async (delayMs) => {
    const { before, after, row } = await due({ delayMs });
    expect(row.dueMs).toBeGreaterThanOrEqual(before + delayMs);
    expect(row.dueMs).toBeLessThanOrEqual(after + delayMs);
    expect(row.createdMs).toBeLessThanOrEqual(after);
  });

  test("not before its delay is over", async () => {
    expect((await due({ delayMs: HOUR_MS })).claimed).toEqual([]);
  });

  test.each(Object.entries(MOMENTS))("at a moment: %s", async (_, runAtMs) => {
    const { row, claimed, listed } = await due({ runAtMs });
    expect(row.dueMs).toBeCloseTo(runAtMs, 1);
    expect(listed).toMatchObject([{ dueAt: new Date(runAtMs) }]);
    expect(claimed).toHaveLength(runAtMs < Date.now() ? 1 : 0);
  });

  test("to the millisecond in every century", async () => {
    const { store } = open();
    const calls = Array.from({ length: 80 }, (_, n) =>
      aCall({ runAtMs: Date.UTC(1975 + n * 100, n % 12, 3, 4, 5, 6, 111 + n) }),
    );
    await insert(open(), calls);
    const listed = await store.listCalls({ limit: 100 });
    expect(listed.map(({ dueAt }) => dueAt.getTime())).toEqual(calls.map(({ runAtMs }) => runAtMs));
  });

  test("an hour from now is later than now, and an hour ago is not", async () => {
    expect((await due({ runAtMs: Date.now() + HOUR_MS })).claimed).toEqual([]);
    expect((await due({ runAtMs: Date.now() - HOUR_MS })).claimed).toHaveLength(1);
  });
}
