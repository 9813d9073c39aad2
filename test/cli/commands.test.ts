import { expect, it } from "vitest";
import type { ListedCall } from "../../src/index.js";
import { describeEachServer } from "../support/outboxes.js";
import { useApp, useShop } from "./shop.js";

const app = useApp();

describeEachServer("the commands", (engine) => {
  const shop = useShop(engine, { isMigrated: false });
  const carteiro = (...args: string[]) => app.run(args, shop.env);

  it("migrate makes the tables, also where they are", async () => {
    const upToDate = { code: 0, stdout: "the tables are up to date\n", stderr: "" };
    expect(await carteiro("migrate")).toEqual(upToDate);
    expect(await carteiro("migrate")).toEqual(upToDate);
    await shop.fail("Ana");
  });

  it("each says what to run where the tables are missing", { timeout: 90_000 }, async () => {
    const id = "0190f5d6-7e1c-7000-8000-3c2f1d9a5b77";
    const operations = [`show ${id}`, `retry ${id}`, "discard --state dead", "check", "pause a", "resume a", "park a"];
    const heads = ["retry-head a", "skip-head a --yes"];
    const commands = [
      "status",
      "list",
      "clean",
      "relay",
      "relay --loop",
      "relay --cron @hourly",
      ...operations,
      ...heads,
    ];
    const ends = await Promise.all(commands.map((command) => carteiro(...command.split(" "))));
    for (const { code, stdout, stderr } of ends) {
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/^NotMigratedError: .*`npx carteiro migrate`.*\n$/);
    }
  });

  it("status shows how each stream stands", async () => {
    await shop.outbox.migrate();
    expect(await carteiro("status")).toEqual({ code: 0, stdout: "no calls are stored\n", stderr: "" });
    expect(await carteiro("status", "--json")).toEqual({ code: 0, stdout: "[]\n", stderr: "" });
    await shop.fail("Ana", "Rui");
    await shop.order(1);

    const { code, stdout } = await carteiro("status");
    expect(code).toBe(0);
    const [head, first, second, ...rest] = stdout.split("\n");
    expect(head).toBe("stream   pending  due  running  sent  dead  parked  blocked keys  oldest due");
    expect(first).toMatch(/^default {8}2 {4}2 {8}0 {5}0 {5}0 {7}0 {13}0 {2}\d+m?s$/);
    expect(second).toMatch(/^orders {9}1 {4}1 {8}0 {5}0 {5}0 {7}0 {13}0 {2}\d+m?s$/);
    expect(rest).toEqual([""]);

    const json = JSON.parse((await carteiro("status", "--json")).stdout) as unknown;
    expect(json).toMatchObject([
      { stream: "default", pending: 2, due: 2, dead: 0, blockedKeys: 0 },
      { stream: "orders", pending: 1 },
    ]);
  });

  it("list shows calls, filtered and in pages", async () => {
    await shop.outbox.migrate();
    expect((await carteiro("list")).stdout).toBe("no such calls are stored\n");
    await shop.fail("Ana");
    await shop.refuse();
    await shop.order(1);

    const list = async (...args: string[]) =>
      JSON.parse((await carteiro("list", "--json", ...args)).stdout) as ListedCall[];
    const all = await list();
    expect(all.map((call) => call.function)).toEqual(["greet", "refuse", "order"]);
    expect(await list("--stream", "orders")).toEqual([all[2]]);
    expect(await list("--function", "refuse", "--state", "due")).toEqual([all[1]]);
    expect(await list("--state", "dead")).toEqual([]);

    const page = await carteiro("list", "--limit", "1", "--json");
    expect(JSON.parse(page.stdout)).toEqual([all[0]]);
    expect(page.stderr).toBe(`there may be more: --after ${all[0]!.cursor} lists them\n`);
    expect(await list("--after", all[0]!.id)).toEqual(all.slice(1));
    await shop.outbox.calls.discard(all[0]!.id);
    expect(await list("--after", all[0]!.cursor)).toEqual(all.slice(1));

    await shop.fail("Rui");
    const { stdout } = await carteiro("list", "--function", "greet");
    const [head, row] = stdout.split("\n");
    expect(head).toMatch(/^id +function +stream +key +state +attempts +created +due +last error$/);
    expect(row).toMatch(
      /^[\da-f-]{36} {2}greet +default +- +due +1 +\S+Z +\S+Z +Error: the test's process sends nothing$/,
    );
    expect(row!.indexOf("greet")).toBe(head!.indexOf("function"));
  });

  it("nobody needs to read what they print", async () => {
    await shop.outbox.migrate();
    const listing = app.start(["list"], shop.env);
    listing.process.stdout.destroy();
    expect(await listing.ended).toMatchObject({ code: 0, stderr: "" });
  });

  it("clean deletes old sent calls, or counts them", async () => {
    await shop.outbox.migrate();
    const keep = shop.outbox.saveToOutbox(async () => {}, { name: "keep", deleteAfterSend: false });
    await keep();
    await keep();
    await shop.outbox.idle();
    const said = (stdout: string) => ({ code: 0, stdout: `${stdout}\n`, stderr: "" });
    expect(await carteiro("clean")).toEqual(said("deleted 0 sent calls older than the retention"));
    expect(await carteiro("clean", "--older-than", "1h")).toEqual(said("deleted 0 sent calls older than 1h"));
    expect(await carteiro("clean", "--older-than", "0", "--dry-run")).toEqual(
      said("would delete 2 sent calls older than 0ms"),
    );
    expect(await carteiro("clean", "--older-than", "0")).toEqual(said("deleted 2 sent calls older than 0ms"));
    expect(await shop.outbox.calls.list()).toEqual([]);
  });
});
