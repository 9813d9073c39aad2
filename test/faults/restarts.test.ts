import { afterEach, beforeEach, expect, it } from "vitest";
import { until } from "../support/waiting.js";
import { describeEachPrivateServer } from "./private-servers.js";
import { Shop } from "./shop.js";

// An unhandled rejection anywhere fails the run: vitest tells.
describeEachPrivateServer("a database that restarts under load", (under) => {
  let shop: Shop;
  beforeEach(async () => {
    shop = new Shop(under.pool());
    await shop.open();
    shop.startRelayers();
  });
  afterEach(async () => {
    if (under.server.pid === undefined) await under.server.start();
    await shop.close();
  });

  it(
    "loses no call, runs none of a transaction that was not stored, and is found again by every relayer",
    { timeout: 120_000 },
    async () => {
      shop.startWriting();
      for (const mode of ["fast", "immediate", "fast"] as const) {
        await shop.commits(40);
        await under.server.halt(mode);
        const [refused, failed, logged] = [shop.refusals.length, shop.relayerErrors.length, shop.log.length];
        await until("the relayers have noticed", () => shop.relayerErrors.length >= failed + 6);
        await until("saves are refused", () => shop.refusals.length > refused);
        shop.expectEverLonger(logged);
        await under.server.start();
      }
      await shop.commits(40);
      await shop.stopWriting();
      await shop.expectAllRan();
      for (const refusal of shop.refusals) expect(refusal).toBeInstanceOf(Error);
      await shop.close();
      await until("no session is left", async () => (await under.sessions()).length === 0);
    },
  );
});
