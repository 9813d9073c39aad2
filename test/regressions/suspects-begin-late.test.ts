import { expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { type Pass } from "../../src/run/pass.js";
import { RelayLoop } from "../../src/relay/relayer.js";
import { deferred } from "../support/waiting.js";
import { aCall, insert, useStore } from "../store/support.js";

describeEachEngine("a suspect whose turn comes late", (engine) => {
  const under = useStore(engine);

  it("is not begun under a lease that has ended: another may have it at any moment", async () => {
    const { id } = (await insert(under, [aCall()]))[0]!;
    const [ours] = await under.store.claimById([id]);
    expect(await under.store.beginSuspect(ours!.lease, false)).toBe(true);
    await under.expireCalls([ours!.seq]);
    expect(await under.store.beginSuspect(ours!.lease, true)).toBe(false);
    const [theirs] = await under.store.claimDue("default", 1);
    expect(theirs).toMatchObject({ isSuspect: true, attempts: 0, suspectRuns: 1 });
    expect(await under.store.beginSuspect(theirs!.lease, true)).toBe(true);
  });
});

it("a relayer that is stopped begins no suspect any more, also of a stream that it has served", async () => {
  const [ended, lookedAgain] = [deferred(), deferred()];
  let pass: Pass | undefined;
  let looks = 0;
  const loop = new RelayLoop({
    store: {
      checkSchema: () => Promise.resolve(),
      readClock: () => Promise.resolve(0),
      dueAmong: () => Promise.resolve([]),
      dueStreams() {
        if (++looks === 2) lookedAgain.resolve();
        return Promise.resolve(looks === 1 ? [{ stream: "default", strategy: "publish-on-commit" as const }] : []);
      },
    },
    publishOnCommit: {
      relay(_stream: string, itsPass: Pass) {
        pass = itsPass;
        pass.work.during(ended.promise);
        return Promise.resolve();
      },
    } as unknown as ConstructorParameters<typeof RelayLoop>[0]["publishOnCommit"],
    keepOrder: {} as unknown as ConstructorParameters<typeof RelayLoop>[0]["keepOrder"],
    concurrency: 4,
    intervalMs: 1,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  // The stream has been served by then, with what it began still running.
  await lookedAgain.promise;
  expect(pass!.isStopped).toBe(false);
  const stopped = loop.stop();
  expect(pass!.isStopped).toBe(true);
  ended.resolve();
  await stopped;
});
