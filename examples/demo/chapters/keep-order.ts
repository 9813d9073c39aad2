import type { Chapter } from "../chapter.js";
import { ORDER_RETRY, type Order, type Shop, type Step } from "../shop.js";
import { type Cell, paint } from "../story.js";
import { sentCalls } from "../waiting.js";

const customers = ["Ana", "Bruno", "Carla"];
const steps: Step[] = ["placed", "paid", "packed", "shipped"];
const firstSteps = steps.slice(0, 3);

export const keepOrder: Chapter = {
  title: "In order, for each customer",

  async tell({ story, shop }) {
    const { outbox, broker } = shop;
    story.say(
      `The warehouse must hear of a customer's steps in their order. So publishOrder has the strategy keep-order, and an
       ordering key:`,
    );
    story.code(
      `saveToOutbox(async function publishOrder(order, step) { … }, {`,
      `  stream: "orders",`,
      `  strategy: "keep-order",`,
      `  orderingKey: (order) => order.customer,`,
      `});`,
    );
    story.say(
      `Three customers order, pay, and have their parcels packed: nine transactions, a call in each. The broker hangs up
       on Ana's second one, twice. After one pass, outbox.relay():`,
    );

    const orders = customers.map((customer) => shop.newOrder(customer, "a moka pot"));
    broker.refuse({ to: "Ana", subject: subjectOf(orders[0]!, "paid") }, 2);
    for (const step of firstSteps) for (const order of orders) await advance(shop, order, step);
    await outbox.idle();
    const runsByCommits = broker.deliveries.length;
    const pass = await outbox.relay({ stream: "orders" });
    const stream = (await outbox.streams.list()).find((one) => one.stream === "orders");
    story.table(
      ["ordering key", ...firstSteps],
      orders.map((order) => laneOf(shop, order, firstSteps)),
    );

    story.claim("The commits ran nothing: keep-order calls are the relay's.", runsByCommits, 0);
    story.claim(
      "One call failed, and Ana's key waits behind it: the next one was not tried.",
      { failed: pass.failed, blocked: pass.blocked.map((head) => head.orderingKey), tried: stepsTried(shop, "Ana") },
      { failed: 1, blocked: ["Ana"], tried: ["placed", "paid"] },
    );
    story.claim(
      "Bruno's and Carla's went on. The pass sent 7 of the 9 calls.",
      { published: pass.published, sent: ["Bruno", "Carla"].map((customer) => stepsSent(shop, customer)) },
      { published: 7, sent: [firstSteps, firstSteps] },
    );
    story.claim(
      "The stream says how it stands: 2 calls pending, 1 key blocked.",
      { pending: stream?.pending, blockedKeys: stream?.blockedKeys },
      { pending: 2, blockedKeys: 1 },
    );

    story.say("All three parcels are shipped, which makes three more calls. A relayer is started, and then:");
    for (const order of orders) await advance(shop, order, "shipped");
    const allSent = sentCalls(outbox, "publishOrder", 5);
    const relayer = outbox.startRelayer({ stream: "orders", interval: "20ms" });
    await allSent;
    await relayer.stop();
    story.table(
      ["ordering key", ...steps],
      orders.map((order) => laneOf(shop, order, steps)),
    );

    const arrivals = broker.accepted.map(({ to, subject }) => `${to} ${stepOf(subject)}`);
    story.claim(
      "Bruno's and Carla's new calls were sent while Ana's still waited.",
      ["Bruno shipped", "Carla shipped"].map((one) => arrivals.indexOf(one) < arrivals.indexOf("Ana paid")),
      [true, true],
    );
    const paidAt = broker.deliveries.filter(({ subject }) => subject === subjectOf(orders[0]!, "paid")).map(timeOf);
    story.claim(
      `Hers was tried again after ${ORDER_RETRY.initialDelay} ms, each time; when it was sent, the others followed.`,
      {
        tried: stepsTried(shop, "Ana"),
        waited: paidAt.slice(1).map((at, index) => at - paidAt[index]! >= ORDER_RETRY.initialDelay),
      },
      { tried: ["placed", "paid", "paid", "paid", "packed", "shipped"], waited: [true, true] },
    );
    story.claim(
      "The broker has each customer's calls in the order of their commits.",
      customers.map((customer) => stepsSent(shop, customer)),
      [steps, steps, steps],
    );
  },
};

/** Writes down a step of an order, and stores the call that tells the warehouse, in one transaction. */
async function advance({ outbox, publishOrder }: Shop, order: Order, step: Step): Promise<void> {
  await outbox.transaction(async (trx) => {
    if (step === "placed") await trx("orders").insert(order);
    else await trx("orders").where({ number: order.number }).update({ status: step });
    await publishOrder(order, step);
  });
}

/** A row of a table: what became of the steps of an order. */
function laneOf({ broker }: Shop, order: Order, shown: readonly Step[]): Cell[] {
  const outcomes = shown.map((step) => {
    const tries = broker.deliveries.filter(({ subject }) => subject === subjectOf(order, step));
    if (tries.length === 0) return paint.dim("· waits");
    if (!tries.at(-1)!.isAccepted) return paint.red("✗ failed");
    return paint.green(tries.length === 1 ? "✓ sent" : `✓ sent, attempt ${tries.length}`);
  });
  return [order.customer, ...outcomes];
}

function stepsTried({ broker }: Shop, customer: string): string[] {
  return broker.deliveries.filter(({ to }) => to === customer).map(({ subject }) => stepOf(subject));
}

function stepsSent({ broker }: Shop, customer: string): string[] {
  return broker.accepted.filter(({ to }) => to === customer).map(({ subject }) => stepOf(subject));
}

function subjectOf(order: Order, step: Step): string {
  return `order ${order.number} ${step}`;
}

function stepOf(subject: string): string {
  return subject.split(" ").at(-1)!;
}

function timeOf({ at }: { at: Date }): number {
  return at.getTime();
}
