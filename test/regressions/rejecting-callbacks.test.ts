import { afterEach, beforeEach, expect, it } from "vitest";
import type { Logger } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const unhandled: unknown[] = [];
const note = (error: unknown) => void unhandled.push(error);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", note);
});
afterEach(() => void process.off("unhandledRejection", note));

describeEachEngine("an application's function that rejects", (engine) => {
  const outboxes = useOutboxes(engine);

  it("harms nothing where it is a method of the logger", async () => {
    const logged: string[] = [];
    // As an async method: its promise is what a `void` hides.
    const log = (_fields: object, message: string): unknown => {
      logged.push(message);
      return Promise.reject(new Error("the log is away"));
    };
    const logger: Logger = { debug: log, info: log, warn: log, error: log };
    const outbox = outboxes.open({ logger, retry: { initialDelay: 0 } });
    let fails = true;
    const send = outbox.saveToOutbox(
      async () => {
        if (fails) throw new Error("down");
      },
      { name: "send" },
    );
    await outbox.transaction(() => send());
    await outbox.idle();
    fails = false;
    await until("it was sent", async () => (await outbox.relay()).published === 1);
    expect(logged).toEqual(["failed", "published"]);
    expect(unhandled).toEqual([]);
  });

  it("harms nothing where it is the onError of a relayer", async () => {
    const outbox = outboxes.open({ tablePrefix: "missing_", pollInterval: 5 });
    const told: unknown[] = [];
    const relayer = outbox.startRelayer({
      onError: async (error) => {
        told.push(error);
        throw new Error("nobody to tell");
      },
    });
    await until("it was told, and goes on", () => told.length >= 3);
    await relayer.stop();
    expect(told[0]).toMatchObject({ code: "CARTEIRO_NOT_MIGRATED" });
    expect(unhandled).toEqual([]);
  });
});
