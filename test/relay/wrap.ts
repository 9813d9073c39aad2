import type { Outbox } from "../../src/index.js";

/** `publish(n)` of keep-order and `send(n)` of publish-on-commit, and what they ran. */
export function wrap(outbox: Outbox, during: (n: number) => unknown = () => undefined) {
  const ran: number[] = [];
  const run = async (n: number) => {
    await during(n);
    ran.push(n);
  };
  const publish = outbox.saveToOutbox(run, { name: "publish", strategy: "keep-order", stream: "orders" });
  const send = outbox.saveToOutbox(run, { name: "send" });
  return { publish, send, ran };
}
