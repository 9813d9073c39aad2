import type { Chapter } from "../chapter.js";

class CardDeclinedError extends Error {}

export const rollback: Chapter = {
  title: "No commit, no call",

  async tell({ story, shop }) {
    const { db, outbox, mail, sendReceipt, ordersOf } = shop;
    story.say("Bruno's card is declined when his order and the call are already in the transaction:");
    story.code(
      `await db.transaction(async (trx) => {`,
      `  await trx("orders").insert(order);`,
      `  await sendReceipt.in(trx)(order);`,
      `  throw new CardDeclinedError();      // knex rolls back`,
      `});`,
    );

    const order = shop.newOrder("Bruno", "a grinder");
    const mailsToBruno = () => mail.deliveries.filter(({ to }) => to === "Bruno").length;
    let inTransaction: number[] = [];
    let isDeclined = false;
    try {
      await db.transaction(async (trx) => {
        await trx("orders").insert(order);
        await sendReceipt.in(trx)(order);
        const calls = await trx("carteiro_calls").select("id");
        inTransaction = [await ordersOf("Bruno", trx), calls.length, mailsToBruno()];
        throw new CardDeclinedError();
      });
    } catch (error) {
      if (!(error instanceof CardDeclinedError)) throw error;
      isDeclined = true;
    }
    const look = async () => [await ordersOf("Bruno"), (await outbox.calls.list()).length, mailsToBruno()];
    await outbox.idle();
    const afterRollback = await look();
    const { published, failed, dead } = await outbox.relay();
    const afterRelay = await look();

    story.table(
      ["moment", "his orders", "calls stored", "mails to him"],
      [
        ["in the transaction", ...inTransaction],
        ["after the ROLLBACK", ...afterRollback],
        ["after outbox.relay()", ...afterRelay],
      ],
    );

    story.claim(
      "In the transaction both were there.",
      { inTransaction, isDeclined },
      {
        inTransaction: [1, 1, 0],
        isDeclined: true,
      },
    );
    story.claim("The ROLLBACK took both, and no mail was sent.", afterRollback, [0, 0, 0]);
    story.claim(
      "A pass of the relay, which runs the calls that are left over, found none.",
      { published, failed, dead, afterRelay },
      { published: 0, failed: 0, dead: 0, afterRelay: [0, 0, 0] },
    );
  },
};
