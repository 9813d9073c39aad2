import type { StreamStatus } from "carteiro";
import type { Chapter } from "../chapter.js";
import { RETENTION_MS } from "../shop.js";
import { nextEvent } from "../waiting.js";

export const cleaner: Chapter = {
  title: "The cleaner",

  async tell({ story, shop }) {
    const { outbox, broker, askForReview } = shop;
    story.say(
      `publishOrder also has deleteAfterSend: false: its calls are still in the table, marked as sent. The cleaner
       deletes them once they are older than the retention, which is 7 days by default, and ${RETENTION_MS} ms here. A call
       that is due in a week is put beside them, and the cleaner is scheduled for every second:`,
    );
    story.code(`await askForReview.with({ delay: "7d" })(order);`, `outbox.schedule({ clean: "* * * * * *" });`);

    await outbox.transaction(() => askForReview.with({ delay: "7d" })(shop.newOrder("Ana", "a moka pot")));
    const before = countsOf(await outbox.streams.list());
    const dryRun = await outbox.clean({ olderThan: "1h", dryRun: true });
    let deleted = 0;
    const done = nextEvent(outbox, "cleaned", (pass) => (deleted += pass.deleted) >= before.sent);
    const schedule = outbox.schedule({ clean: "* * * * * *" });
    await done;
    const youngestMs = Date.now() - broker.accepted.at(-1)!.at.getTime();
    await schedule.stop();
    const after = countsOf(await outbox.streams.list());

    story.table(
      ["calls", "sent", "pending", "dead"],
      [
        ["before", before.sent, before.pending, before.dead],
        ["after", after.sent, after.pending, after.dead],
      ],
    );
    story.claim(
      `The cleaner deleted the 12 sent calls, the last one when its ${RETENTION_MS} ms were over.`,
      { deleted, sent: [before.sent, after.sent], isOver: youngestMs >= RETENTION_MS },
      { deleted: 12, sent: [12, 0], isOver: true },
    );
    story.claim(
      "It left those that are pending or dead.",
      [before, after].map(({ pending, dead }) => [pending, dead]),
      [
        [1, 1],
        [1, 1],
      ],
    );
    story.claim("A dry run for those older than an hour had counted none.", dryRun, { deleted: 0 });
  },
};

function countsOf(streams: readonly StreamStatus[]): Record<"sent" | "pending" | "dead", number> {
  const sum = (state: "sent" | "pending" | "dead") => streams.reduce((count, one) => count + one[state], 0);
  return { sent: sum("sent"), pending: sum("pending"), dead: sum("dead") };
}
