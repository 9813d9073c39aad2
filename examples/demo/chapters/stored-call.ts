import type { Chapter } from "../chapter.js";
import { paint } from "../story.js";

export const storedCall: Chapter = {
  title: "A call is stored with the order",

  async tell({ story, shop }) {
    const { db, outbox, mail, sendReceipt } = shop;
    story.say("Ana buys coffee. Her order is saved, and with it the call that mails her receipt:");
    story.code(
      `await db.transaction(async (trx) => {`,
      `  await trx("orders").insert(order);`,
      `  await sendReceipt.in(trx)(order);   // stored, not run`,
      `});`,
    );

    const order = shop.newOrder("Ana", "two bags of coffee");
    const inRun = { states: [] as string[], orders: 0, accepted: 0 };
    mail.onNextArrival(async () => {
      inRun.states = (await outbox.calls.list()).map(({ state }) => state);
      inRun.orders = await shop.ordersOf("Ana");
      inRun.accepted = mail.accepted.length;
    });

    const before = await db.transaction(async (trx) => {
      await trx("orders").insert(order);
      const saved = await sendReceipt.in(trx)(order);
      const [row] = await trx<CallRow>("carteiro_calls").select("id", "function_name", "state", "payload");
      return { saved, row, runs: mail.deliveries.length };
    });
    await outbox.idle();
    const rowsAfter = await outbox.calls.list();

    story.say("The table carteiro_calls at three moments:");
    const { saved, row } = before;
    story.table(
      ["moment", "function_name", "state", "mails sent"],
      [
        ["in the transaction", row?.function_name ?? "", paint.yellow(row?.state ?? ""), before.runs],
        ["after its COMMIT, in the run", saved.function, paint.cyan(inRun.states.join()), inRun.accepted],
        ["after the run", rowsAfter.length === 0 ? paint.dim("(no row)") : "", "", mail.accepted.length],
      ],
    );

    story.claim(
      "In the transaction the call was a row, with its arguments. It had not run.",
      { id: row?.id, name: row?.function_name, state: row?.state, args: argumentsIn(row), runs: before.runs },
      { id: saved.id, name: "sendReceipt", state: "pending", args: [order], runs: 0 },
    );
    story.claim(
      "It ran after the COMMIT, once.",
      [inRun, mail.deliveries.length],
      [{ states: ["running"], orders: 1, accepted: 0 }, 1],
    );
    story.claim(
      "The mail service was given the call's id, to know it again should it ever run twice.",
      mail.accepted.map(({ to, id }) => [to, id]),
      [["Ana", saved.id]],
    );
    story.claim("The mail was sent, so the row is gone.", rowsAfter, []);
  },
};

interface CallRow {
  id: string;
  function_name: string;
  state: string;
  payload: string;
}

function argumentsIn(row: CallRow | undefined): unknown {
  return row && (JSON.parse(row.payload) as { json: unknown }).json;
}
