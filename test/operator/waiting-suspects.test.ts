import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

describeEachEngine("suspects that wait for their turn", (engine) => {
  const outboxes = useOutboxes(engine);

  /** Two calls of one stream under leases that have ended, and one of another; the first to run does not end by itself. */
  async function open(suspectRuns: number) {
    const outbox = outboxes.open({ requireTransaction: false });
    const opened = gate();
    const begun: string[] = [];
    const run = async (what: string) => {
      begun.push(what);
      if (begun.length === 1) await opened.promise;
    };
    const send = outbox.saveToOutbox(run, { name: "send", stream: "mails" });
    const note = outbox.saveToOutbox(run, { name: "note", stream: "notes" });
    // A delay: the process that saves them shall not run them.
    for (const what of ["mail 1", "mail 2"]) await send.with({ delay: 1 })(what);
    const other = await note.with({ delay: 1 })("note");
    const due_at = outboxes.knex.raw(outboxes.dialect.after("-1"));
    await outboxes.table("calls").update({ lease_id: randomUUID(), due_at, suspect_runs: suspectRuns });
    await outboxes
      .table("calls")
      .where({ id: other.id })
      .update({ due_at: outboxes.knex.raw(outboxes.dialect.now) });
    const pass = outbox.relay({ stream: "mails" });
    await until("one of them runs", () => begun.length === 1);
    return { outbox, opened, begun, pass };
  }

  const counted = () => outboxes.table("calls").select("attempts", "suspect_runs").where({ stream: "mails" });

  it.each([
    ["beside other runs", 0],
    ["alone", 1],
  ])("to run %s: begins no suspect of a stream that was paused while it waited", async (_how, suspectRuns) => {
    const { outbox, opened, begun, pass } = await open(suspectRuns);
    await outbox.streams.pause("mails");
    const notes = outbox.relay({ stream: "notes" });
    opened.resolve();
    expect(await pass).toMatchObject({ published: 1, failed: 0 });
    expect(await notes).toMatchObject({ published: 1 });
    expect(begun.toSorted()).toEqual([begun[0], "note"].toSorted());
    // The one that did not run has nothing counted against it.
    expect(await counted()).toEqual([{ attempts: 0, suspect_runs: suspectRuns }]);
    expect(await outbox.relay()).toMatchObject({ published: 0 });

    await outbox.streams.resume("mails");
    expect(await outbox.relay()).toMatchObject({ published: 1 });
    expect(begun.toSorted()).toEqual(["mail 1", "mail 2", "note"]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("are told as running to a person who discards them, and run on", async () => {
    const { outbox, opened, begun, pass } = await open(0);
    expect(await outbox.calls.discard({ stream: "mails" })).toEqual({ discarded: 0, running: 2 });
    opened.resolve();
    expect(await pass).toMatchObject({ published: 2 });
    expect(begun.toSorted()).toEqual(["mail 1", "mail 2"]);
  });
});
