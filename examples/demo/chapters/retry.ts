import type { OutboxEvents } from "carteiro";
import type { Chapter, Stage } from "../chapter.js";
import { NoSuchMailboxError, type Order, RECEIPT_RETRY } from "../shop.js";
import { paint } from "../story.js";
import { nextEvent } from "../waiting.js";

export const retry: Chapter = {
  title: "A call that fails is run again",

  async tell(stage) {
    await recover(stage);
    await giveUp(stage);
  },
};

async function recover({ story, shop }: Stage): Promise<void> {
  const { outbox, mail } = shop;
  story.say("Carla orders. Inside outbox.transaction, a call finds its transaction by itself:");
  story.code(
    `await outbox.transaction(async (trx) => {`,
    `  await trx("orders").insert(order);`,
    `  await sendReceipt(order);`,
    `});`,
  );
  story.say(
    `Her transaction commits, but the mail service hangs up, twice. The first run is made right after the commit, by the
     process that committed. Then a relayer is started: it runs what is due.`,
  );

  const order = shop.newOrder("Carla", "a pound of decaf");
  mail.refuse({ to: "Carla", subject: `receipt ${order.number}` }, 2);
  const runs: Run[] = [];
  const unsubscribes = [
    outbox.on("failed", (run) => void runs.push(run)),
    outbox.on("published", (run) => void runs.push(run)),
  ];
  const sent = nextEvent(outbox, "published", ({ call }) => call.function === "sendReceipt");

  const orderedAt = Date.now();
  await placeOrder(shop, order);
  await outbox.idle();
  const [waiting] = await outbox.calls.list();
  const ordersMeanwhile = await shop.ordersOf("Carla");

  const relayer = outbox.startRelayer({ interval: "20ms" });
  await sent;
  await relayer.stop();
  for (const unsubscribe of unsubscribes) unsubscribe();

  const deliveries = mail.deliveries.filter(({ to }) => to === "Carla");
  const answeredAt = deliveries.map(({ at }) => at.getTime());
  story.table(
    ["attempt", "run", "since the order", "answer"],
    runs.map((run, index) => [
      run.attempt,
      run.source === "commit" ? "after the commit" : "by the relayer",
      `${answeredAt[index]! - orderedAt} ms`,
      isFailed(run) ? paint.red(`✗ ${(run.error as Error).message}`) : paint.green("✓ sent"),
    ]),
  );

  story.claim(
    "After the first failure her order stood, and beside it the call, with its error.",
    { orders: ordersMeanwhile, attempts: waiting?.attempts, lastError: firstLine(waiting?.lastError) },
    { orders: 1, attempts: 1, lastError: "Error: the mail service hung up" },
  );
  story.claim(
    "The relayer ran it again until it succeeded.",
    runs.map((run) => [run.source, run.attempt, isFailed(run) ? "failed" : "sent"]),
    [
      ["commit", 1, "failed"],
      ["relay", 2, "failed"],
      ["relay", 3, "sent"],
    ],
  );
  const { initialDelay, factor } = RECEIPT_RETRY;
  const delays = [initialDelay, initialDelay * factor];
  story.claim(
    `It waited ${delays.join(" ms, then ")} ms, as the function's retry schedule says.`,
    delays.map((delay, index) => answeredAt[index + 1]! - answeredAt[index]! >= delay),
    [true, true],
  );
  story.claim(
    "All three attempts had one id.",
    [deliveries.length, new Set(deliveries.map(({ id }) => id)).size],
    [3, 1],
  );
}

async function giveUp({ story, shop }: Stage): Promise<void> {
  const { outbox, mail } = shop;
  story.say(
    `Davi mistyped his address. No retry mends that, so the function throws an UnrecoverableError. One more pass of the
     relay, and the table:`,
  );
  const order = shop.newOrder("Davi", "a french press");
  const noMailbox = (): Error => new NoSuchMailboxError("no mailbox of that name");
  mail.refuse({ to: "Davi", subject: `receipt ${order.number}` }, Infinity, noMailbox);
  await placeOrder(shop, order);
  await outbox.idle();
  const pass = await outbox.relay();
  const listed = await outbox.calls.list();

  story.table(
    ["function", "state", "attempts", "last error"],
    listed.map((call) => [call.function, paint.red(call.state), call.attempts, firstLine(call.lastError)]),
  );

  story.claim(
    "The call is dead: kept where it can be seen, and not run again.",
    {
      calls: listed.map((call) => [call.function, call.state, call.attempts]),
      runs: mail.deliveries.filter(({ to }) => to === "Davi").length,
      runsInPass: pass.published + pass.failed + pass.dead,
    },
    { calls: [["sendReceipt", "dead", 1]], runs: 1, runsInPass: 0 },
  );
}

type Run = OutboxEvents["failed"] | OutboxEvents["published"];

function isFailed(run: Run): run is OutboxEvents["failed"] {
  return "error" in run;
}

async function placeOrder({ outbox, sendReceipt }: Stage["shop"], order: Order): Promise<void> {
  await outbox.transaction(async (trx) => {
    await trx("orders").insert(order);
    await sendReceipt(order);
  });
}

function firstLine(text: string | undefined): string {
  return text?.split("\n")[0] ?? "";
}
