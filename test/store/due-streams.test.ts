import { expect, test } from "vitest";
import type { DueStream } from "../../src/store/due-streams.js";
import type { StreamLease } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine, insert, useStore } from "./support.js";

const HOUR_MS = 60 * 60 * 1000;

describeEachEngine("the streams with something to do", (engine) => {
  const under = useStore(engine);
  /** Those that are named for their own sake are the same. */
  const due = async () => {
    const all = await under.store.dueStreams();
    const { rows } = under.dialect.result<{ stream: string }>(
      await under.knex.raw(`select stream from ${under.tables.calls} union select stream from ${under.tables.streams}`),
    );
    const streams = [...new Set([...rows.map(({ stream }) => stream), "unheard-of"])];
    const among = await under.store.dueAmong(streams);
    const sorted = (of: DueStream[]) => of.map(({ stream, strategy }) => `${stream}: ${strategy}`).sort();
    expect(sorted(among)).toEqual(sorted(all.filter(({ strategy }) => strategy === "keep-order")));
    return sorted(all);
  };
  const expireKeys = () => under.select(`update ${under.tables.keys} set due_at = ${under.dialect.after("-1")}`);

  test("are none where nothing is stored", async () => {
    expect(await due()).toEqual([]);
  });

  test("are those with a call in line or a due one, once for each strategy", async () => {
    await insert(under, [
      ...["mails", "mails", "Mails", "both", "🙂"].map((stream) => aCall({ stream })),
      ...["line", "line", "both", "🙂"].map((stream) => inLine("a", { stream })),
      aCall({ stream: "later", delayMs: HOUR_MS }),
      // What is not due yet leaves the line, which a pass has to do.
      inLine("a", { stream: "line, later", delayMs: HOUR_MS }),
      aCall({ stream: "mixed", delayMs: HOUR_MS }),
      aCall({ stream: "mixed", runAtMs: 0 }),
    ]);
    expect(await due()).toEqual(
      [
        ...["mails", "Mails", "both", "🙂", "mixed"].map((stream) => `${stream}: publish-on-commit`),
        ...["line", "both", "🙂", "line, later"].map((stream) => `${stream}: keep-order`),
      ].sort(),
    );
  });

  test("leave out claimed calls until their lease ends, and settled ones", async () => {
    await insert(under, [
      aCall({ stream: "mails" }),
      aCall({ stream: "mails" }),
      aCall({ stream: "sent" }),
      aCall({ stream: "dead" }),
    ]);
    const [one, two] = await under.store.claimDue("mails", 2);
    const [sent] = await under.store.claimDue("sent", 1);
    const [dead] = await under.store.claimDue("dead", 1);
    await under.store.settleCalls([
      { lease: sent!.lease, settled: { state: "sent", attempts: 1 } },
      { lease: dead!.lease, settled: { state: "dead", attempts: 1, error: "no" } },
    ]);
    expect(await due()).toEqual([]);
    await under.expireCalls([one!.lease.seq]);
    expect(await due()).toEqual(["mails: publish-on-commit"]);
    await under.store.releaseCalls([one!.lease, two!.lease], HOUR_MS);
    expect(await due()).toEqual([]);
  });

  test("leave out keep-order streams that are being served", async () => {
    await insert(under, [inLine("a"), aCall({ stream: "line" })]);
    const lease = (await under.store.acquireStream("line")) as StreamLease;
    expect(await due()).toEqual(["line: publish-on-commit"]);
    await under.expireStream("line");
    expect(await due()).toEqual(["line: keep-order", "line: publish-on-commit"]);
    await under.store.renewStream(lease);
    expect(await due()).toEqual(["line: publish-on-commit"]);
    await under.store.releaseStream(lease);
    expect(await due()).toEqual(["line: keep-order", "line: publish-on-commit"]);
  });

  test("are those with a key that is due, with calls in line or without", async () => {
    await insert(under, [inLine("a"), inLine("b"), inLine("a", { stream: "other" })]);
    const [a, b] = await under.rows();
    const lease = (await under.store.acquireStream("line")) as StreamLease;
    const hold = (inMs: number, seqs = [a!.seq, b!.seq]) =>
      under.store.settleStream(
        lease,
        seqs.map((seq) => ({ kind: "hold", state: "blocked", due: { inMs }, head: { seq, attempts: 1 } })),
      );
    await hold(HOUR_MS);
    await under.store.releaseStream(lease);
    expect(await due()).toEqual(["other: keep-order"]);
    await expireKeys();
    expect(await due()).toEqual(["line: keep-order", "other: keep-order"]);
    await under.store.acquireStream("line");
    expect(await due()).toEqual(["other: keep-order"]);
  });

  test("are many", async () => {
    const streams = Array.from({ length: 120 }, (_, n) => `stream ${n}`);
    await insert(
      under,
      streams.flatMap((stream) => [aCall({ stream }), aCall({ stream }), inLine("a", { stream })]),
    );
    expect(await due()).toEqual(
      streams.flatMap((stream) => [`${stream}: keep-order`, `${stream}: publish-on-commit`]).sort(),
    );
  });

  test("the clock is the database's, in milliseconds", async () => {
    const first = await under.store.readClock();
    expect(Math.abs(first - Date.now())).toBeLessThan(HOUR_MS / 4);
    expect(await under.store.readClock()).toBeGreaterThanOrEqual(first);
    expect(typeof first).toBe("number");
  });
});
