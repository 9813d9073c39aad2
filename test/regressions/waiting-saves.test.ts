import { expect, it } from "vitest";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

const LEASE_MS = 900;

describeEachServer("calls outside a transaction that wait for their key's other writers", (engine) => {
  const outboxes = useOutboxes(engine);

  it("starve no lease", async () => {
    const outbox = outboxes.open({ lease: LEASE_MS, requireTransaction: false });
    const [began, ended, lost] = [deferred(), gate(), [] as string[]];
    outbox.on("leaseLost", ({ stream }) => void lost.push(stream));
    const publish = outbox.saveToOutbox(
      async (key: string) => {
        if (key !== "b") return;
        began.resolve();
        await ended.promise;
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
    );
    await publish("b");
    const relaying = outbox.relay();
    await began.promise;
    const trx = await outboxes.knex.transaction();
    await publish.in(trx)("a");
    const waiting = [publish("a"), publish("a")];
    const firstEnd = await outboxes.streamLeaseEnd();
    await until(
      "the lease was renewed twice",
      async () => lost.length > 0 || (await outboxes.streamLeaseEnd()) > firstEnd + LEASE_MS,
    );
    await trx.commit();
    await Promise.all(waiting);
    ended.resolve();
    await relaying;
    expect(lost).toEqual([]);
  });

  it("are refused after close, and leave no connection behind", async () => {
    const outbox = outboxes.open({ requireTransaction: false });
    const publish = outbox.saveToOutbox(() => undefined, { name: "publish", strategy: "keep-order" });
    await outbox.close();
    await expect(publish()).rejects.toThrow();
  });
});
