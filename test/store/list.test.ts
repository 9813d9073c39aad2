import { hostname } from "node:os";
import { expect, test } from "vitest";
import { InvalidOptionError } from "../../src/index.js";
import type { NewCall } from "../../src/store/insert-calls.js";
import { seqOfCursor } from "../../src/store/list-calls.js";
import type { StreamLease } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine, insert, useStore } from "./support.js";

const HOUR_MS = 60 * 60 * 1000;
/** The counts in the status of a stream without calls. */
const NO_CALLS = {
  pending: 0,
  due: 0,
  running: 0,
  sent: 0,
  dead: 0,
  parked: 0,
  blockedKeys: 0,
  waitingKeys: 0,
  parkedKeys: 0,
};
const ids = (calls: readonly { id: string }[]) => calls.map(({ id }) => id);

describeEachEngine("listing calls", (engine) => {
  const under = useStore(engine);

  /** One call in each state that a call can be in. */
  async function oneOfEach() {
    const { store } = under;
    const mails = (overrides: Partial<NewCall> = {}) => aCall({ stream: "mails", functionName: "mail", ...overrides });
    const calls = {
      due: mails(),
      pending: mails({ delayMs: HOUR_MS }),
      running: mails(),
      orphaned: mails(),
      failed: mails(),
      sent: mails(),
      dead: mails(),
      inLine: inLine("Cust-ç"),
      head: inLine("b"),
      behind: inLine("b"),
      later: inLine("c", { delayMs: HOUR_MS }),
    };
    await insert(under, Object.values(calls));
    const claimed = await store.claimById(ids([calls.running, calls.orphaned, calls.failed, calls.sent, calls.dead]));
    const leaseOf = ({ id }: NewCall) => claimed.find((call) => call.id === id)!.lease;
    await under.expireCalls([leaseOf(calls.orphaned).seq]);
    await store.settleCalls([
      { lease: leaseOf(calls.failed), settled: { state: "pending", attempts: 2, delayMs: HOUR_MS, error: "down 🙂" } },
      { lease: leaseOf(calls.sent), settled: { state: "sent", attempts: 1 } },
      { lease: leaseOf(calls.dead), settled: { state: "dead", attempts: 9, error: "no such address" } },
    ]);
    const rows = new Map((await under.rows()).map((row) => [row.id, row]));
    const lease = (await store.acquireStream("line")) as StreamLease;
    const head = { seq: rows.get(calls.head.id)!.seq, attempts: 3, error: "refused" };
    await store.settleStream(lease, [
      { kind: "hold", state: "blocked", due: { inMs: HOUR_MS }, head },
      { kind: "set-aside", seqs: [rows.get(calls.behind.id)!.seq] },
    ]);
    return calls;
  }

  const STATES = {
    due: "due",
    pending: "pending",
    running: "running",
    orphaned: "due",
    failed: "pending",
    sent: "sent",
    dead: "dead",
    inLine: "due",
    head: "blocked",
    behind: "waiting",
    later: "pending",
  } as const;

  test("shows how each call stands, in the order in which they were stored", async () => {
    const calls = await oneOfEach();
    const listed = await under.store.listCalls({ limit: 100 });
    expect(listed.map(({ id, state }) => [id, state])).toEqual(
      Object.entries(STATES).map(([name, state]) => [calls[name as keyof typeof calls].id, state]),
    );
    const rows = await under.rows();
    for (const [n, call] of listed.entries()) {
      expect(call.createdAt).toEqual(new Date(Math.round(rows[n]!.createdMs)));
      const { dueMs, leaseUntilMs } = rows[n]!;
      expect(call.dueAt).toEqual(new Date(Math.round(call.state === "running" ? leaseUntilMs! : dueMs)));
      expect(typeof call.attempts).toBe("number");
    }
    const shown = (name: keyof typeof calls) => listed.find(({ id }) => id === calls[name].id);
    expect(shown("due")).toEqual({
      id: calls.due.id,
      function: "mail",
      stream: "mails",
      strategy: "publish-on-commit",
      state: "due",
      attempts: 0,
      createdAt: expect.any(Date) as Date,
      dueAt: expect.any(Date) as Date,
      cursor: expect.stringMatching(/^seq:\d+$/) as string,
    });
    expect(shown("inLine")).toMatchObject({ strategy: "keep-order", orderingKey: "Cust-ç", function: "send" });
    expect(shown("failed")).toMatchObject({ attempts: 2, lastError: "down 🙂" });
    expect(shown("dead")).toMatchObject({ attempts: 9, lastError: "no such address" });
    expect(shown("head")).toMatchObject({ attempts: 3, lastError: "refused", orderingKey: "b" });
  });

  test.each(["pending", "due", "running", "blocked", "waiting", "sent", "dead"] as const)(
    "filters by state: %s",
    async (state) => {
      const calls = await oneOfEach();
      const names = Object.entries(STATES).flatMap(([name, one]) =>
        one === state ? [name as keyof typeof calls] : [],
      );
      expect(ids(await under.store.listCalls({ state, limit: 100 }))).toEqual(names.map((name) => calls[name].id));
    },
  );

  test("filters by stream and function, by their very names", async () => {
    const named = (stream: string, functionName: string) => aCall({ stream, functionName });
    const calls = [named("a", "f"), named("A", "f"), named("a", "F"), named("🙂 ? '", "f"), named("a", "f")];
    await insert(under, calls);
    const list = async (filter: { stream?: string; functionName?: string }) =>
      ids(await under.store.listCalls({ limit: 10, ...filter }));
    expect(await list({ stream: "a" })).toEqual(ids([calls[0]!, calls[2]!, calls[4]!]));
    expect(await list({ functionName: "F" })).toEqual(ids([calls[2]!]));
    expect(await list({ stream: "a", functionName: "f" })).toEqual(ids([calls[0]!, calls[4]!]));
    expect(await list({ stream: "🙂 ? '" })).toEqual(ids([calls[3]!]));
    expect(await list({ stream: "nothing" })).toEqual([]);
  });

  test("gives page after page", async () => {
    const calls = await insert(
      under,
      Array.from({ length: 25 }, (_, n) => aCall({ stream: n % 2 === 0 ? "even" : "odd" })),
    );
    const pages: string[][] = [];
    for (let after: { id: string } | undefined; ;) {
      const page = ids(await under.store.listCalls({ limit: 10, after }));
      if (page.length === 0) break;
      pages.push(page);
      after = { id: page.at(-1)! };
    }
    expect(pages.map(({ length }) => length)).toEqual([10, 10, 5]);
    expect(pages.flat()).toEqual(ids(calls));
    const filtered = { stream: "odd", state: "due", functionName: "send" } as const;
    expect(ids(await under.store.listCalls({ ...filtered, limit: 3, after: { id: calls[10]!.id } }))).toEqual(
      ids([calls[11]!, calls[13]!, calls[15]!]),
    );
    expect(await under.store.listCalls({ limit: 0 })).toEqual([]);
  });

  test("goes on behind a cursor whose call is gone", async () => {
    const calls = await insert(
      under,
      Array.from({ length: 12 }, () => aCall()),
    );
    const [, , third] = await under.store.listCalls({ limit: 3 });
    const rows = await under.rows();
    await under.store.discardCalls(rows.slice(0, 6).map(({ seq }) => seq));
    const after = { seq: seqOfCursor(third!.cursor)! };
    expect(ids(await under.store.listCalls({ limit: 4, after }))).toEqual(ids(calls.slice(6, 10)));
  });

  test("takes nothing but a cursor for one", () => {
    expect(seqOfCursor("seq:123")).toBe(123);
    expect(seqOfCursor("seq:900719925474099312")).toBe("900719925474099312");
    for (const other of ["seq:", "seq:-1", "seq:1e3", "seq:9999999999999999999", "123", aCall().id, 123]) {
      expect(seqOfCursor(other)).toBeUndefined();
    }
  });

  test("cannot go on after a call that is gone", async () => {
    await insert(under, [aCall()]);
    const { id } = aCall();
    const listing = under.store.listCalls({ limit: 10, after: { id } });
    await expect(listing).rejects.toThrow(InvalidOptionError);
    await expect(listing).rejects.toThrow(`after is ${id}`);
  });

  test("counts how each stream stands, in numbers", async () => {
    await oneOfEach();
    await insert(under, [aCall({ stream: "Mails", runAtMs: Date.now() - HOUR_MS })]);
    const status = (await under.store.streamStatus()).sort((a, b) => (a.stream < b.stream ? -1 : 1));
    expect(status).toEqual([
      {
        stream: "Mails",
        ...NO_CALLS,
        pending: 1,
        due: 1,
        oldestDueAgeMs: expect.any(Number) as number,
      },
      {
        stream: "line",
        servedBy: `${hostname()} ${process.pid}`,
        blockedHead: {
          id: expect.any(String) as string,
          function: "send",
          orderingKey: "b",
          attempts: 3,
          lastError: "refused",
          since: expect.any(Date) as Date,
        },
        pending: 4,
        due: 1,
        running: 0,
        sent: 0,
        dead: 0,
        parked: 0,
        blockedKeys: 1,
        waitingKeys: 0,
        parkedKeys: 0,
        oldestDueAgeMs: expect.any(Number) as number,
      },
      {
        stream: "mails",
        pending: 5,
        due: 2,
        running: 1,
        sent: 1,
        dead: 1,
        parked: 0,
        blockedKeys: 0,
        waitingKeys: 0,
        parkedKeys: 0,
        oldestDueAgeMs: expect.any(Number) as number,
      },
    ]);
    expect(status[0]!.oldestDueAgeMs).toBeGreaterThanOrEqual(HOUR_MS - 1000);
    expect(status[0]!.oldestDueAgeMs).toBeLessThan(HOUR_MS * 1.25);
  });

  test("tells no age where nothing is due, and no key as blocked that is only being run", async () => {
    await insert(under, [inLine("a"), aCall({ stream: "later", delayMs: HOUR_MS })]);
    const [row] = await under.rows();
    const lease = (await under.store.acquireStream("line")) as StreamLease;
    const head = { seq: row!.seq, attempts: 0 };
    await under.store.settleStream(lease, [{ kind: "hold", state: "busy", due: { inMs: HOUR_MS }, head }]);
    const counts = { ...NO_CALLS, pending: 1 };
    expect(await under.store.streamStatus()).toEqual([
      { stream: "later", ...counts },
      { stream: "line", ...counts, servedBy: `${hostname()} ${process.pid}` },
    ]);
  });
});
