import { it } from "vitest";
import { describeEachServer } from "../support/outboxes.js";
import { useDeaths } from "./failpoints/deaths.js";

const limit = { timeout: 300_000 };

describeEachServer("a process killed at every boundary", (engine) => {
  const { dieEverywhere } = useDeaths(engine);

  it.for(["publish-on-commit", "keep-order"] as const)(
    "%s: while it saves: every order has its call, and no call is without",
    limit,
    (strategy) =>
      dieEverywhere("save", strategy, [
        ...[/insert into .*orders/, /insert into .*calls/, /COMMIT/, /ROLLBACK/],
        ...[/SAVEPOINT/, strategy === "keep-order" ? /writers|lock/ : /lease_id/],
      ]),
  );

  it("while it cleans, between the batches", limit, () => dieEverywhere("clean", "publish-on-commit", [/delete/]));

  it("while it migrates an empty database", limit, () =>
    dieEverywhere("migrate", "keep-order", [/create table .*calls/, /lock/, /insert into .*migrations/]),
  );
});
