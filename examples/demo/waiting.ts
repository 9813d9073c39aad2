import type { Outbox, OutboxEventName, OutboxEvents } from "carteiro";

/** Resolves at the first event that is the one waited for. Call it before what brings the event about. */
export function nextEvent<Name extends OutboxEventName>(
  outbox: Outbox,
  name: Name,
  isIt: (event: OutboxEvents[Name]) => boolean,
): Promise<OutboxEvents[Name]> {
  return new Promise((resolve) => {
    const off = outbox.on(name, (event) => {
      if (!isIt(event)) return;
      off();
      resolve(event);
    });
  });
}

/** Resolves when so many more calls of a function have been sent. Call it before what sends them. */
export async function sentCalls(outbox: Outbox, functionName: string, count: number): Promise<void> {
  let sent = 0;
  await nextEvent(outbox, "published", ({ call }) => call.function === functionName && ++sent === count);
}
