import { expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

describeEachEngine('an outbox of persist: "on-failure"', (engine) => {
  const outboxes = useOutboxes(engine);

  it("stores keep-order calls with their transaction, and relays them in order", async () => {
    const outbox = outboxes.open({ persist: "on-failure" });
    const ran: number[] = [];
    const publish = outbox.saveToOutbox(async (n: number) => void ran.push(n), {
      name: "publish",
      strategy: "keep-order",
    });
    await outbox.transaction(async () => {
      for (const n of [1, 2, 3]) await publish(n);
    });
    await outbox.idle();
    expect(ran).toEqual([]);
    const stored = { functionName: "publish", state: "pending", attempts: 0 };
    expect(await outboxes.rows()).toMatchObject([stored, stored, stored]);
    expect(await outbox.relay()).toMatchObject({ published: 3 });
    expect(ran).toEqual([1, 2, 3]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("stores a call whose transaction commits after close() began, and leaves it to others", async () => {
    const outbox = outboxes.open({ persist: "on-failure" });
    const other = outboxes.open({ persist: "on-failure" });
    const ran: string[] = [];
    const send = outbox.saveToOutbox(async (what: string) => void ran.push(`here ${what}`), { name: "send" });
    other.saveToOutbox(async (what: string) => void ran.push(`there ${what}`), { name: "send" });
    let closing: Promise<void> | undefined;
    const saved = await outbox.transaction(async () => {
      const call = await send("letter");
      closing = outbox.close();
      return call;
    });
    await closing;
    expect(await outboxes.rows()).toMatchObject([{ id: saved.id, state: "pending", attempts: 0, isLeased: false }]);
    expect(ran).toEqual([]);
    expect(await other.relay()).toMatchObject({ published: 1 });
    expect(ran).toEqual(["there letter"]);
  });
});
