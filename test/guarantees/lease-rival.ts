import { currentCall, type Outbox } from "../../src/index.js";
import { deferred, gate } from "../support/waiting.js";
import type { How } from "./lease-processes.js";

/** Teaches an outbox of the test's own process the functions of `lease-process.ts`; their runs wait to be let go. */
export function rivalOf(outbox: Outbox) {
  const [started, letGo] = [deferred(), gate()];
  const ran: { label: string; attempt: number; fence: number }[] = [];
  const published: string[] = [];
  const run = async (label: string, _how: How) => {
    const { attempt, fence } = currentCall()!;
    ran.push({ label, attempt, fence });
    started.resolve();
    await letGo.promise;
  };
  outbox.saveToOutbox(run, { name: "send" });
  outbox.saveToOutbox(run, {
    name: "publish",
    strategy: "keep-order",
    stream: "orders",
    orderingKey: (label) => label.slice(0, 1),
  });
  outbox.on("published", ({ call }) => void published.push(String(call.args[0])));
  return { outbox, started, letGo, ran, published };
}
