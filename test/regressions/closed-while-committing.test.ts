import { expect, it } from "vitest";
import { startFaultProxy } from "../faults/fault-proxy.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";

describeEachServer('close() while a transaction with calls of persist: "on-failure" commits', (engine) => {
  const outboxes = useOutboxes(engine);

  it("waits for the COMMIT's answer, and stores what fails", async () => {
    const proxy = await startFaultProxy(outboxes.database.connection!.url);
    const knex = outboxes.database.newKnex!({ connection: proxy.url });
    const outbox = outboxes.open({ knex, lease: 2000 });
    const send = outbox.saveToOutbox(() => Promise.reject(new Error("down")), { name: "send", persist: "on-failure" });
    const committing = proxy.setAt(/^.{0,5}COMMIT/s, "hold");
    const transaction = outbox.transaction(() => send());
    await committing;
    const closed = outbox.close();
    proxy.set("pass");
    await Promise.all([transaction, closed]);
    expect((await outboxes.rows()).map(({ state, attempts }) => [state, attempts])).toEqual([["pending", 1]]);
    await knex.destroy();
    await proxy.close();
  });

  it("does not wait for an answer that never comes", async () => {
    const proxy = await startFaultProxy(outboxes.database.connection!.url);
    const knex = outboxes.database.newKnex!({ connection: proxy.url });
    const outbox = outboxes.open({ knex, lease: 200 });
    const send = outbox.saveToOutbox(() => undefined, { name: "send", persist: "on-failure" });
    const committing = proxy.setAt(/^.{0,5}COMMIT/s, "hold");
    const transaction = outbox.transaction(() => send()).catch((error: unknown) => error);
    await committing;
    await outbox.close();
    proxy.set("reset");
    expect(await transaction).toBeInstanceOf(Error);
    await knex.destroy();
    await proxy.close();
  });
});
