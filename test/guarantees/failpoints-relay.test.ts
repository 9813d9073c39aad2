import { expect, it } from "vitest";
import { describeEachServer } from "../support/outboxes.js";
import { useDeaths } from "./failpoints/deaths.js";

const limit = { timeout: 300_000 };

describeEachServer("a relay killed at every boundary", (engine) => {
  const { die, dieEverywhere } = useDeaths(engine);
  const byStrategy = it.for(["publish-on-commit", "keep-order"] as const);

  byStrategy("%s: while it claims, runs and settles, several outcomes together", limit, (strategy) =>
    dieEverywhere("relay", strategy, [/set lease_(id|token)/, /delete/, /'sent'|u\.state/, /last_error/]),
  );

  byStrategy("%s: in the function", limit, async (strategy) => {
    const [victim] = await die("relay", strategy, ["in the function"]);
    expect(victim?.runs).toContainEqual(expect.objectContaining({ succeeded: false }));
  });

  byStrategy("%s: while it renews its leases", limit, (strategy) =>
    dieEverywhere("renew", strategy, [/set lease_until/]),
  );
});
