import { expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

describeEachEngine("of the calls that a person means", (engine) => {
  const outboxes = useOutboxes(engine);

  it("none are, where no ids are given", async () => {
    const outbox = outboxes.open({ requireTransaction: false });
    const note = outbox.saveToOutbox(async () => {}, { name: "note" });
    await note.with({ delay: "1h" })();
    expect(await outbox.calls.retry([])).toEqual({ retried: 0 });
    expect(await outbox.calls.discard([])).toEqual({ discarded: 0, running: 0 });
    expect(await outbox.calls.discard([], { dryRun: true })).toEqual({ discarded: 0, running: 0 });
    expect(await outboxes.rows()).toHaveLength(1);
  });
});
