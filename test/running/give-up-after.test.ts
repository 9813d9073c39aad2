import { expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const HOUR_MS = 3_600_000;

describeEachEngine("giveUpAfter", (engine) => {
  const outboxes = useOutboxes(engine);

  function failing() {
    const outbox = outboxes.open({ retry: { giveUpAfter: "1h", initialDelay: 0, jitter: 0 } });
    const send = outbox.saveToOutbox(() => Promise.reject(new Error("down")), { name: "send" });
    const state = async () => (await outbox.calls.list())[0]!.state;
    return { outbox, send, state };
  }

  /** As if the call had been saved, and due, so much earlier. */
  const age = (ms: number) => {
    const earlier = (column: string) => outboxes.knex.raw(outboxes.dialect.after(String(-ms), column));
    return outboxes
      .table("calls")
      .update({ created_at: earlier("created_at"), due_at: earlier("due_at"), first_due_at: earlier("first_due_at") });
  };

  it("counts from the moment when a call was due for the first time", async () => {
    const { outbox, send, state } = failing();
    await outbox.transaction(() => send.with({ delay: 2 * HOUR_MS })());
    await age(2.5 * HOUR_MS);
    expect(await outbox.relay()).toMatchObject({ failed: 1, dead: 0 });
    expect(await state()).not.toBe("dead");
    await age(HOUR_MS);
    expect(await outbox.relay()).toMatchObject({ dead: 1 });
  });

  it("counts from the save where there was no delay, and anew from a person's retry", async () => {
    const { outbox, send, state } = failing();
    await outbox.transaction(() => send());
    await until("it has failed", async () => (await outbox.calls.list()).every(({ attempts }) => attempts > 0));
    await outbox.idle();
    await age(1.5 * HOUR_MS);
    expect(await outbox.relay()).toMatchObject({ dead: 1 });
    const [call] = await outbox.calls.list();
    expect(await outbox.calls.retry(call!.id)).toEqual({ retried: 1 });
    expect(await outbox.relay()).toMatchObject({ failed: 1, dead: 0 });
    expect(await state()).not.toBe("dead");
  });
});
