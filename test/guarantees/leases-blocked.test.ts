import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";
import { type How, useProcesses } from "./lease-processes.js";
import { rivalOf } from "./lease-rival.js";

const LEASE_MS = 1000;

const STRATEGIES = [
  { strategy: "publish-on-commit", name: "send", lost: "send" },
  { strategy: "keep-order", name: "publish", lost: "orders" },
] as const;

describeEachServer("a run that blocks its process's event loop", (engine) => {
  const outboxes = useOutboxes(engine);
  const processes = useProcesses(outboxes);
  let folder: string;
  beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "carteiro-block-"))));
  afterEach(() => rm(folder, { recursive: true }));

  /** A process that is blocked in the run of a1, until `unblock`. */
  async function block(name: "send" | "publish") {
    const blocked = await processes.start({ lease: LEASE_MS });
    const untilFile = join(folder, "end-of-block");
    const how: How = { kind: "block", untilFile };
    await blocked.ask({ do: "save", name, label: "a1", how });
    const relaying = name === "publish" ? blocked.ask({ do: "relay" }) : undefined;
    await until("it is blocked", () => blocked.labels("began").length > 0);
    const rival = rivalOf(outboxes.openRival({ lease: LEASE_MS }));
    const leaseEnd = async () =>
      name === "publish" ? outboxes.streamLeaseEnd() : (await rival.outbox.calls.list())[0]!.dueAt.getTime();
    return { blocked, relaying, rival, leaseEnd, firstEnd: await leaseEnd(), unblock: () => writeFile(untilFile, "") };
  }

  for (const { strategy, name, lost } of STRATEGIES) {
    // The database's clock is this machine's.
    it.each([
      ["a third of its lease", -LEASE_MS / 3],
      ["its lease, while nobody takes over", LEASE_MS / 2],
    ])(`for longer than %s has its lease renewed afterwards [${strategy}]`, async (_, afterEndMs) => {
      const { blocked, relaying, rival, leaseEnd, firstEnd, unblock } = await block(name);
      await until("it has been blocked for so long", () => Date.now() > firstEnd + afterEndMs);
      await unblock();
      await until("the lease is renewed", async () => (await leaseEnd()) > Math.max(Date.now(), firstEnd));
      rival.letGo.resolve();
      expect(await rival.outbox.relay()).toMatchObject({ published: 0 });
      await blocked.ask({ do: "finish", label: "a1" });
      await blocked.ask({ do: "idle" });
      await relaying;
      expect(["published", "leaseLost", "aborted"].map((kind) => blocked.labels(kind as "aborted"))).toEqual([
        ["a1"],
        [],
        [],
      ]);
      expect([rival.ran, await outboxes.rows()]).toEqual([[], []]);
    });

    it(`for longer than its lease has lost it where another took over [${strategy}]`, async () => {
      const { blocked, relaying, rival, unblock } = await block(name);
      const relayer = rival.outbox.startRelayer({ interval: 20 });
      await rival.started.promise;
      const before = await outboxes.rows();
      await unblock();
      await until("it knows", () => blocked.labels("leaseLost").length > 0 && blocked.labels("aborted").length > 0);
      await blocked.ask({ do: "finish", label: "a1" });
      await blocked.ask({ do: "idle" });
      await relaying;
      expect([blocked.labels("leaseLost"), blocked.labels("published")]).toEqual([[lost], []]);
      expect(await outboxes.rows()).toEqual(before);
      rival.letGo.resolve();
      await until("the other has settled it", async () => (await outboxes.rows()).length === 0);
      await relayer.stop();
      expect(rival.ran).toEqual([{ label: "a1", attempt: 1, fence: 2 }]);
      expect(rival.published).toEqual(["a1"]);
    });
  }
});
