import { expect, it } from "vitest";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

describeEachServer("a slow key of a stream, beside more busy streams than are served at once", (engine) => {
  const outboxes = useOutboxes(engine);

  it("keeps no other key of its stream waiting, and the streams take turns", async () => {
    const outbox = outboxes.open({ concurrency: 2, pollInterval: 20 });
    const [began, ended] = [deferred(), gate()];
    const ran: string[] = [];
    const publishTo = (stream: string) =>
      outbox.saveToOutbox(
        async (key: string) => {
          if (key === "slow") began.resolve();
          if (key === "slow") await ended.promise;
          ran.push(`${stream} ${key}`);
        },
        { name: `publish to ${stream}`, strategy: "keep-order", stream, orderingKey: (key) => key },
      );
    const [one, two, three] = [publishTo("one"), publishTo("two"), publishTo("three")];
    const save = (publish: typeof one, key: string) => outbox.transaction(() => publish(key));
    await save(one, "slow");
    const relayer = outbox.startRelayer();
    await began.promise;
    let isBusy = true;
    const busy = [two, three].map(async (publish) => {
      while (isBusy) await save(publish, "a");
    });
    // One of both has its turn at once, the other after those that are served were asked to give way.
    await until("both have had their turn", () => ["two a", "three a"].every((one) => ran.includes(one)));
    await save(one, "quick");
    await until("it ran", () => ran.includes("one quick"));
    isBusy = false;
    await Promise.all(busy);
    ended.resolve();
    await relayer.stop();
    expect(ran).toContain("one slow");
  });
});
