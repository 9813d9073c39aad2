import type { Chapter } from "../chapter.js";
import type { FlakyService, Message } from "../flaky-service.js";
import type { FunctionMetrics } from "../metrics.js";
import type { Order, Shop } from "../shop.js";
import type { Cell } from "../story.js";
import { sentCalls } from "../waiting.js";

const SEED = 1755;
const ORDERS = 40;
const SHARE_REFUSED = 0.25;
const customers = ["Ana", "Bruno", "Carla", "Elena", "Filipe", "Gabi"];

export const numbers: Chapter = {
  title: "A busy afternoon, in numbers",

  async tell({ story, shop, metrics }) {
    const { outbox, mail, broker } = shop;
    story.say(
      `${ORDERS} orders come in, each with a receipt to mail and a step to publish. Every tenth card is declined. Both
       services hang up on about a quarter of what they are sent; on what, a seed decides, so that every demo is the same.`,
    );
    const orders = Array.from({ length: ORDERS }, (_, index) =>
      shop.newOrder(customers[index % customers.length]!, "beans"),
    );
    const declined = orders.filter((_, index) => index % 10 === 9);
    const committed = orders.filter((order) => !declined.includes(order));
    const random = seeded(SEED);
    for (const order of committed) {
      hangUpNowAndThen(mail, receiptOf(order), random);
      hangUpNowAndThen(broker, noticeOf(order), random);
    }

    const allSent = Promise.all([
      sentCalls(outbox, "sendReceipt", committed.length),
      sentCalls(outbox, "publishOrder", committed.length),
    ]);
    const receipts = metrics.of("sendReceipt");
    const notices = metrics.of("publishOrder");
    const unsubscribe = outbox.on("published", () => {
      story.meanwhile(`sent so far: ${sentOf(receipts)} receipts, ${sentOf(notices)} steps`);
    });
    for (const order of orders) await place(shop, order, declined.includes(order));
    await outbox.idle();
    const relayer = outbox.startRelayer({ interval: "20ms" });
    await allSent;
    await relayer.stop();
    unsubscribe();

    story.say("Counted from the events published, failed and dead, since the demo began:");
    story.table(
      ["function", "sent on commit", "by relay", "failed runs", "dead", "mean run"],
      [
        ["sendReceipt", ...rowOf(receipts)],
        ["publishOrder", ...rowOf(notices)],
      ],
    );
    story.claim(
      `Each of the ${committed.length} orders that committed has its receipt, once; the ${declined.length} that rolled back have none.`,
      orders.map((order) => arrivals(mail, receiptOf(order))),
      orders.map((order) => (declined.includes(order) ? 0 : 1)),
    );
    const isNotice = new Set(orders.map((order) => noticeOf(order).subject));
    story.claim(
      "The broker has the same orders, each customer's in the order of their commits.",
      customers.map((customer) => subjectsTo(customer, broker.accepted).filter((subject) => isNotice.has(subject))),
      customers.map((customer) => subjectsTo(customer, committed.map(noticeOf))),
    );
    story.claim(
      "The numbers are those in the books of the mail service and of the broker.",
      [receipts, notices].map((one) => [one.sentOnCommit, one.sentByRelay, one.failedRuns]),
      [
        [acceptedAtOnce(mail), mail.accepted.length - acceptedAtOnce(mail), refusals(mail)],
        [0, broker.accepted.length, refusals(broker)],
      ],
    );
    story.claim(
      `A mean run is no shorter than its service takes to answer: ${mail.latencyMs} ms, and ${broker.latencyMs} ms.`,
      [receipts.meanMs > mail.latencyMs - 1, notices.meanMs > broker.latencyMs - 1],
      [true, true],
    );
    story.claim(
      "One call is dead, Davi's. One is pending, due in a week. None was lost.",
      {
        dead: [receipts.dead, notices.dead],
        listed: (await unsentCalls(shop)).map((call) => [call.function, call.state]),
      },
      {
        dead: [1, 0],
        listed: [
          ["sendReceipt", "dead"],
          ["askForReview", "pending"],
        ],
      },
    );
  },
};

class CardDeclinedError extends Error {}

async function place({ outbox, sendReceipt, publishOrder }: Shop, order: Order, isDeclined: boolean): Promise<void> {
  try {
    await outbox.transaction(async (trx) => {
      await trx("orders").insert(order);
      await sendReceipt(order);
      await publishOrder(order, "placed");
      if (isDeclined) throw new CardDeclinedError();
    });
  } catch (error) {
    if (!(error instanceof CardDeclinedError)) throw error;
  }
}

function hangUpNowAndThen(service: FlakyService, message: Message, random: () => number): void {
  let times = 0;
  while (random() < SHARE_REFUSED) times += 1;
  service.refuse(message, times);
}

/** Numbers from 0 to 1 that look random, and are the same for the same seed. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const receiptOf = ({ customer, number }: Order): Message => ({ to: customer, subject: `receipt ${number}` });
const noticeOf = ({ customer, number }: Order): Message => ({ to: customer, subject: `order ${number} placed` });

const sentOf = ({ sentOnCommit, sentByRelay }: FunctionMetrics): number => sentOnCommit + sentByRelay;

function rowOf({ sentOnCommit, sentByRelay, failedRuns, dead, meanMs }: FunctionMetrics): Cell[] {
  return [sentOnCommit, sentByRelay, failedRuns, dead, `${meanMs.toFixed(1)} ms`];
}

async function unsentCalls({ outbox }: Shop) {
  return (await outbox.calls.list()).filter(({ state }) => state !== "sent");
}

function arrivals({ accepted }: FlakyService, { to, subject }: Message): number {
  return accepted.filter((one) => one.to === to && one.subject === subject).length;
}

function subjectsTo(customer: string, messages: readonly Message[]): string[] {
  return messages.filter(({ to }) => to === customer).map(({ subject }) => subject);
}

function acceptedAtOnce({ deliveries }: FlakyService): number {
  const met = new Set<string>();
  return deliveries.filter(({ id, isAccepted }) => {
    const isFirst = !met.has(id);
    met.add(id);
    return isFirst && isAccepted;
  }).length;
}

function refusals({ deliveries }: FlakyService): number {
  return deliveries.filter(({ isAccepted }) => !isAccepted).length;
}
