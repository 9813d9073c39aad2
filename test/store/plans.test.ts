import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { claimById } from "../../src/store/claim-by-id.js";
import { beginSuspect, claimDue, endLeases, releaseCalls, renewCalls } from "../../src/store/claim-calls.js";
import { countSent, deleteSent } from "../../src/store/clean-calls.js";
import type { Database } from "../../src/store/database.js";
import type { Seq } from "../../src/store/dialect.js";
import { dueAmong, dueStreams, readClock } from "../../src/store/due-streams.js";
import { fetchDueKeys, fetchHeld, fetchLine, hasOtherKeys, readPayload } from "../../src/store/fetch-stream.js";
import { giveUpHidden, hideCalls, hideHead, restoreHidden } from "../../src/store/hidden-calls.js";
import { insertCalls } from "../../src/store/insert-calls.js";
import { listCalls, readCall } from "../../src/store/list-calls.js";
import { countSelected, discardCalls, discardSent, retryCalls, selectCalls } from "../../src/store/operate-calls.js";
import {
  countRunning,
  hasOpenCall,
  parkKey,
  pauseStream,
  readHead,
  resumeKey,
  resumeStream,
  retryHead,
} from "../../src/store/operate-streams.js";
import { lookAgain } from "../../src/store/look-again.js";
import { readAhead, readWriters } from "../../src/store/read-ahead.js";
import {
  acquireStream,
  releaseStream,
  renewStream,
  settleStream,
  type StreamLease,
} from "../../src/store/serve-stream.js";
import { type Settled, settleCalls } from "../../src/store/settle-calls.js";
import type { Store } from "../../src/store/store.js";
import { confirmChanges, readChanges, readConfirmation } from "../../src/store/stream-changes.js";
import { fill, watched } from "./support-plans.js";
import { aCall, describeSome, inLine, LEASE_MS, useStore } from "./support.js";

const CALLS = 20_000;
/** More than a statement has to look at, and far less than there are of any state. */
const MANY = 1000;
/** What a person's bulk command looks at in one statement. */
const WINDOW = 10_000;

/** Members of the store that ask nothing of the calls, or all of them. */
const EXCEPT: Partial<Record<keyof Store, string>> = {
  insertAlone: "the statements of insert",
  canNotify: "no statement",
  canListen: "no statement",
  notify: "of no table",
  listen: "of no table",
  isWholeRollback: "no statement",
  isDuplicate: "no statement",
  migrate: "has tests of its own",
  checkSchema: "of the table of migrations",
  close: "no statement",
  streamStatus: "counts all calls, for a person",
  openFunctions: "counts all calls that are open, for a person",
};

describeSome(`no statement reads all of ${CALLS} calls`, (engine) => {
  const under = useStore(engine, {}, { keepsTables: true });
  interface Found {
    id: string;
    seq: Seq;
  }
  let due: Found[] = [];
  let line: Found[] = [];
  let held: Found[] = [];
  let dead: Found[] = [];
  let sent: Found[] = [];

  beforeAll(async () => {
    await fill(under, CALLS);
    const { calls } = under.tables;
    const readSome = (where: string) =>
      under.select<Found>(`select id, seq from ${calls} where ${where} order by seq limit 100`);
    due = await readSome("state = 'pending' and strategy = 'publish-on-commit'");
    line = await readSome("state = 'pending' and strategy = 'keep-order' and stream = 'stream 1'");
    held = await readSome("state = 'held' and stream = 'stream 1'");
    dead = await readSome("state = 'dead' and stream = 'stream 1'");
    sent = await readSome("state = 'sent'");
    for (const rows of [due, line, held, dead, sent]) expect(rows).toHaveLength(100);
  });

  const lease: StreamLease = { stream: "stream 1", token: randomUUID(), fence: 1, isTakenOver: false };
  const acquired = async (db: Database) => (await acquireStream(db, "stream 1", LEASE_MS)) as StreamLease;
  const leases = (count: number) => due.slice(0, count).map(({ seq }) => ({ seq, token: randomUUID() }));
  const ids = (count: number) => due.slice(0, count).map(({ id }) => id);
  const seqs = (rows: readonly Found[]) => rows.map(({ seq }) => seq);
  const outcomes: Settled[] = [{ state: "deleted" }, { state: "dead", attempts: 1, error: "no" }];
  const key = Buffer.from("key 1");
  const insert = (db: Database, calls: Parameters<typeof insertCalls>[3]) =>
    insertCalls(db, under.dialect, under.tables, calls, true);

  /** By the name of the store's member, and what is special about it. */
  const statements: Record<string, (db: Database) => Promise<unknown>> = {
    "insert, publish-on-commit": (db) => insert(db, [aCall()]),
    "insert, keep-order": (db) => insert(db, [inLine("key 1")]),
    "insert, many": (db) =>
      insert(
        db,
        Array.from({ length: 20 }, (_, n) => inLine(`key ${n}`)),
      ),
    "claimById, one": (db) => claimById(db, ids(1), LEASE_MS),
    "claimById, many": (db) => claimById(db, ids(100), LEASE_MS),
    claimDue: (db) => claimDue(db, "stream 1", 100, LEASE_MS),
    "claimDue, by a moment": (db) => claimDue(db, "stream 1", 100, LEASE_MS, { byMs: Date.now() }),
    "claimDue, of nothing": (db) => claimDue(db, "no such stream", 100, LEASE_MS),
    renewCalls: (db) => renewCalls(db, leases(100), LEASE_MS),
    releaseCalls: (db) => releaseCalls(db, leases(100), 0),
    endLeases: (db) => endLeases(db, leases(100), 0),
    beginSuspect: async (db) => {
      const [claimed] = await claimDue(db, "stream 1", 1, LEASE_MS);
      expect(await beginSuspect(db, claimed!.lease, true)).toBe(true);
    },
    "settleCalls, lost": (db) =>
      settleCalls(
        db,
        leases(2).map((one, n) => ({ lease: one, settled: outcomes[n]! })),
      ),
    "settleCalls, held": async (db) => {
      const claimed = await claimDue(db, "stream 1", 60, LEASE_MS);
      expect(claimed).toHaveLength(60);
      const settlements = claimed.map((call, n) => ({ lease: call.lease, settled: outcomes[n % 2]! }));
      expect(await settleCalls(db, settlements)).toEqual([]);
    },
    "settleCalls, of numbers that came as texts": async (db) => {
      const claimed = await claimDue(db, "stream 1", 60, LEASE_MS);
      const settled: Settled = { state: "sent", attempts: 1 };
      const settlements = claimed.map(({ lease: { seq, token } }) => ({ lease: { seq: String(seq), token }, settled }));
      await settleCalls(db, settlements);
    },
    readClock: (db) => readClock(db),
    dueStreams: (db) => dueStreams(db),
    dueAmong: (db) => dueAmong(db, ["stream 1", "no such stream"]),
    acquireStream: (db) => acquireStream(db, "stream 1", LEASE_MS),
    renewStream: (db) => renewStream(db, lease, LEASE_MS),
    releaseStream: (db) => releaseStream(db, lease),
    fetchLine: (db) => fetchLine(db, lease, 256),
    "fetchLine, of calls that do not stand aside": async (db) => {
      await forgetKeys(db);
      expect((await fetchLine(db, lease, 100)).calls).toHaveLength(100);
    },
    readAhead: async (db) => {
      await forgetKeys(db);
      const ahead = await readAhead(db, await acquired(db), line[50]!.seq, 100, []);
      expect(ahead?.before).toHaveLength(51);
      expect(ahead?.calls).toHaveLength(100);
    },
    "readAhead, from a floor": async (db) => {
      await forgetKeys(db);
      const ahead = await readAhead(db, await acquired(db), line[50]!.seq, 100, [], line[40]!.seq);
      expect(ahead?.before).toHaveLength(10);
    },
    readWriters: (db) => readWriters(db),
    lookAgain: async (db) => {
      await forgetKeys(db);
      expect((await lookAgain(db, await acquired(db), 100)).calls).toHaveLength(100);
    },
    "fetchDueKeys, by a moment": (db) => fetchDueKeys(db, lease, 256, Date.now()),
    fetchDueKeys: (db) => fetchDueKeys(db, lease, 256),
    fetchHeld: (db) => fetchHeld(db, lease, key, 0, 256),
    hasOtherKeys: (db) => hasOtherKeys(db, lease, [key, Buffer.from("key 2")]),
    readPayload: (db) => readPayload(db, due[0]!.seq),
    "settleStream, deleting": async (db) => {
      const deleted = line.map(({ seq }) => ({ kind: "delete", seq }) as const);
      expect(await settleStream(db, await acquired(db), deleted)).toBe(true);
    },
    "settleStream, of every kind": async (db) => {
      const head = { seq: held[0]!.seq, attempts: 1, error: "down" };
      const isSettled = await settleStream(db, await acquired(db), [
        { kind: "delete", seq: line[0]!.seq },
        { kind: "mark-sent", seq: line[1]!.seq },
        { kind: "dead", seq: line[2]!.seq, attempts: 1, error: "no" },
        { kind: "begin-suspect", seq: line[3]!.seq, isAlone: true },
        { kind: "set-aside", seqs: seqs(line.slice(4)) },
        { kind: "hold", state: "blocked", due: { inMs: 0 }, head },
        { kind: "release", key },
      ]);
      expect(isSettled).toBe(true);
    },
    readChanges: async (db) => readChanges(db, await acquired(db)),
    confirmChanges: async (db) => confirmChanges(db, await acquired(db), 0, seqs(line)),
    deleteSent: (db) => deleteSent(db, 1000, 500),
    "deleteSent, of nothing": (db) => deleteSent(db, 10 ** 11, 500),
    countSent: (db) => countSent(db, 1000),
    "listCalls, the first page": (db) => listCalls(db, { limit: 100 }),
    "listCalls, another page": (db) => listCalls(db, { limit: 100, after: { seq: line[50]!.seq } }),
    "listCalls, behind a call": (db) => listCalls(db, { limit: 100, after: { id: line[50]!.id } }),
    "listCalls, dead ones of a stream": (db) => listCalls(db, { limit: 100, stream: "stream 1", state: "dead" }),
    readCall: (db) => readCall(db, due[0]!.id, true),
    "selectCalls, by id": (db) => selectCalls(db, "retry", { ids: ids(100) }, undefined, 100),
    "selectCalls, from the first on": (db) => selectCalls(db, "retry", { stream: "stream 1" }, undefined, 100),
    "selectCalls, behind one": (db) => selectCalls(db, "discard", { stream: "stream 1" }, line[50]!.seq, 100),
    "countSelected, by id": (db) => countSelected(db, "discard", { ids: ids(100) }),
    "retryCalls, publish-on-commit": (db) => retryCalls(db, seqs(due)),
    "retryCalls, dead and held": (db) => retryCalls(db, seqs([...dead, ...held])),
    discardCalls: (db) => discardCalls(db, seqs([...due, ...dead])),
    discardSent: (db) => discardSent(db, seqs(sent)),
    hideCalls: (db) => hideCalls(db, "stream 1", seqs(line)),
    hideHead: (db) => hideHead(db, "stream 1", key),
    restoreHidden: async (db) => {
      await hideCalls(db, "stream 1", seqs(line));
      expect(await restoreHidden(db, "stream 1", seqs(line))).toBe(line.length);
    },
    giveUpHidden: async (db) => {
      await hideCalls(db, "stream 1", seqs(line));
      expect(await giveUpHidden(db, line[0]!.seq)).toBe(true);
    },
    pauseStream: (db) => pauseStream(db, "stream 1", "maintenance"),
    resumeStream: (db) => resumeStream(db, "stream 1"),
    countRunning: (db) => countRunning(db, "stream 1"),
    parkKey: (db) => parkKey(db, "stream 1", key),
    hasOpenCall: (db) => hasOpenCall(db, "stream 1", key, seqs(line)),
    resumeKey: async (db) => {
      await parkKey(db, "stream 1", key);
      expect(await resumeKey(db, "stream 1", key)).toBe(true);
    },
    retryHead: (db) => retryHead(db, "stream 1", key),
    readHead: (db) => readHead(db, "stream 1", key),
    readConfirmation: (db) => readConfirmation(db, "stream 1", "0"),
  };

  /** From now on no key of the stream stands aside. */
  const forgetKeys = (db: Database) => db.query(`delete from ${under.tables.keys} where stream = 'stream 1'`);

  /** What a statement of a person, or of the cleaner, may read. */
  function mostOf(name: string): number {
    if (name === "countSent") return CALLS;
    return name.startsWith("selectCalls") ? 2 * WINDOW : MANY;
  }

  test.each(Object.entries(statements))("%s", async (name, run) => {
    const trx = await under.begin();
    const { database, scans, floods } = watched(under, trx, mostOf(name));
    await run(database);
    await trx.rollback();
    expect(scans).toEqual([]);
    expect(floods).toEqual([]);
  });

  test("none of the store's statements is missing here", () => {
    const tested = new Set(Object.keys(statements).map((name) => name.split(",")[0]));
    const missing = Object.keys(under.store).filter((name) => !tested.has(name) && !(name in EXCEPT));
    expect(missing).toEqual([]);
  });

  test("one that does is found out", async () => {
    const { database, scans, floods } = watched(under, await under.begin(), MANY);
    await database.query(`select count(*) from ${under.tables.calls} c where c.payload = ?`, ["x"]);
    expect(scans).toHaveLength(1);
    expect(floods).toHaveLength(1);
  });
});
