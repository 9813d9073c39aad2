import { expect, test } from "vitest";
import type { StreamLease } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { inLine, insert, type Row, useStore } from "./support.js";

const LONG_MS = 600_000;

describeEachEngine("a look at a stream of which nothing is known", (engine) => {
  const under = useStore(engine);
  const acquire = async () => (await under.store.acquireStream("line")) as StreamLease;
  const look = (lease: StreamLease) => under.store.lookAgain(lease, 3);

  test("brings the line, as a closer one would", async () => {
    const lease = await acquire();
    expect(await look(lease)).toEqual({ isLost: false, calls: [] });
    await insert(under, [inLine("a"), inLine("b"), inLine("a"), inLine("c")]);
    const { calls } = await under.store.fetchLine(lease, 3);
    const found = (await look(lease)).calls!;
    const timeless = (all: typeof calls) =>
      all.map(({ attempts, version, ...call }) => ({ ...call, attempts, version }));
    expect(timeless(found)).toEqual(timeless(calls));
  });

  test("brings nothing once the lease is another's", async () => {
    const lease = await acquire();
    await insert(under, [inLine("a")]);
    await under.expireStream("line");
    await acquire();
    expect(await look(lease)).toEqual({ isLost: true });
  });

  test("leaves to a closer one what a person has changed, what stands aside, and what is due", async () => {
    const lease = await acquire();
    await insert(under, [inLine("a"), inLine("b")]);
    const [head] = (await under.rows()) as [Row];
    const held = { seq: head.seq, attempts: 1, error: "down" };
    const hold = (inMs: number) =>
      under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs }, head: held }]);
    await hold(LONG_MS);
    expect((await look(lease)).calls).toHaveLength(1);
    await insert(under, [inLine("a")]);
    expect(await look(lease)).toEqual({ isLost: false });
    await under.store.settleStream(lease, [{ kind: "set-aside", seqs: [(await under.rows())[2]!.seq] }]);
    expect((await look(lease)).calls).toHaveLength(1);
    await hold(0);
    expect(await look(lease)).toEqual({ isLost: false });
    await hold(LONG_MS);
    expect((await look(lease)).calls).toHaveLength(1);
    const epoch = await under.store.pauseStream("line", undefined);
    expect(await look(lease)).toEqual({ isLost: false });
    await under.store.confirmChanges(lease, epoch, []);
    expect(await look(lease)).toEqual({ isLost: false });
  });
});
