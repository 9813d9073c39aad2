import { expect, it } from "vitest";
import { startFaultProxy } from "../faults/fault-proxy.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { READ_AHEAD_BYTES } from "../../src/store/fetch-stream.js";

const LARGE = "x".repeat(READ_AHEAD_BYTES);

describeEachServer("a payload that is too large to be read ahead", (engine) => {
  const outboxes = useOutboxes(engine);

  async function openByProxy(lease: string | number) {
    const proxy = await startFaultProxy(outboxes.database.connection!.url);
    const knex = outboxes.database.newKnex!({ connection: proxy.url });
    const outbox = outboxes.open({ knex, lease, retry: { maxAttempts: 1 } });
    const [ran, failed, lost]: unknown[][] = [[], [], []];
    const send = outbox.saveToOutbox((text: string) => void ran!.push(text.length), {
      name: "send",
      strategy: "keep-order",
      onExhausted: "skip",
    });
    outbox.on("failed", ({ error }) => void failed!.push(error));
    outbox.on("leaseLost", ({ stream }) => void lost!.push(stream));
    await outboxes.knex.transaction((trx) => send.in(trx)(LARGE));
    const close = async () => {
      proxy.set("pass");
      await outbox.close();
      await knex.destroy();
      await proxy.close();
    };
    return { proxy, outbox, ran: ran!, failed: failed!, lost: lost!, close };
  }

  it("is read again where the link broke: the call did not fail, and is not given up", async () => {
    const { proxy, outbox, ran, failed, close } = await openByProxy("60s");
    const broken = proxy.setAt(/select payload/, "reset").then(() => proxy.set("pass"));
    await outbox.relay();
    await broken;
    expect([ran, failed]).toEqual([[LARGE.length], []]);
    expect(await outboxes.rows()).toEqual([]);
    await close();
  });

  it("and comes when the lease is lost is not run", async () => {
    const { proxy, outbox, ran, lost, close } = await openByProxy(500);
    const stalled = proxy.setAt(/select payload/, "hold");
    const isLost = new Promise((resolve) => outbox.on("leaseLost", resolve));
    const relaying = outbox.relay();
    await stalled;
    await isLost;
    proxy.set("pass");
    await relaying;
    expect([ran, lost]).toEqual([[], ["default"]]);
    expect((await outboxes.rows()).map(({ state, attempts }) => [state, attempts])).toEqual([["pending", 0]]);
    await close();
  });
});
