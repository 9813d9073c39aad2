import { expect, it } from "vitest";
import { type ListedCall, type SavedCall, UnrecoverableError } from "../../src/index.js";
import { describeEachServer } from "../support/outboxes.js";
import { useApp, useShop } from "./shop.js";

const app = useApp();

const STRANGER = "0190f5d6-7e1c-7000-8000-3c2f1d9a5b77";

describeEachServer("of the commands on calls", (engine) => {
  const shop = useShop(engine);
  const carteiro = (...args: string[]) => app.run(args, shop.env);
  const said = (stdout: string) => ({ code: 0, stdout: `${stdout}\n`, stderr: "" });
  const states = async () => (await shop.outbox.calls.list()).map(({ state }) => state);

  /** Stores dead calls. */
  async function bury(error: string, ...args: unknown[]): Promise<string> {
    const doom = shop.outbox.saveToOutbox(
      async (..._: unknown[]) => {
        throw new UnrecoverableError(error);
      },
      { name: `doom ${/[\w ]+/.exec(error)![0]}` },
    );
    const { id } = await doom.with({ headers: { tenant: "Ana\u001b[2J" } })(...args);
    await shop.outbox.idle();
    return id;
  }

  it("list narrows by key, age and error, and shows parked ones", async () => {
    const keyed = shop.outbox.saveToOutbox(async (_: string) => {}, {
      name: "keyed",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    await keyed("Ana");
    await keyed("Rui");
    await bury("no route");
    await shop.outbox.keys.park({ stream: "orders", orderingKey: "Rui" });
    await shop.outbox.relay();

    const list = async (...args: string[]) =>
      (JSON.parse((await carteiro("list", "--json", ...args)).stdout) as ListedCall[]).map((call) => call.function);
    const [rui, keyless, old, young, failed, others, parked] = await Promise.all([
      list("--key", "Rui"),
      list("--key", ""),
      list("--older-than", "0"),
      list("--older-than", "1h"),
      list("--error", "no route"),
      list("--error", "No Route"),
      list("--state", "parked"),
    ]);
    expect(rui).toEqual(["keyed"]);
    expect(keyless).toEqual(["doom no route"]);
    expect(old).toEqual(["keyed", "doom no route"]);
    expect([young, failed, others]).toEqual([[], ["doom no route"], []]);
    expect(parked).toEqual(["keyed"]);
  });

  it("show prints all that is stored, the arguments only with --args", async () => {
    const id = await bury("no\u001b[2J\nway", "secret\u001b[2J", new Map([["at", new Date(0)]]), 10n);
    const [page, withArgs, json, jsonWithArgs] = await Promise.all([
      carteiro("show", id),
      carteiro("show", id.toUpperCase(), "--args"),
      carteiro("show", id, "--json"),
      carteiro("show", id, "--args", "--json"),
    ]);
    expect(page).toMatchObject({ code: 0, stderr: "" });
    const lines = page.stdout.split("\n");
    expect(lines.slice(0, 4)).toEqual([
      `id            ${id}`,
      "function      doom no",
      "version       1",
      "stream        default",
    ]);
    expect(page.stdout).toMatch(/\nstate {9}dead\nattempts {6}1\n/);
    expect(page.stdout).toMatch(/\npayload {7}\d+ bytes, not signed\nheaders\n {2}tenant: Ana \[2J\n/);
    expect(page.stdout).toMatch(/\nlast error\n {2}UnrecoverableError: no\\u001b\[2J\n {2}way\n {6}at /);
    expect(page.stdout).not.toContain("secret");
    for (const { stdout } of [page, withArgs, json, jsonWithArgs]) expect(stdout).not.toContain("\u001b");

    expect(withArgs.stdout).toBe(
      `${page.stdout}arguments\n  [0] 'secret\\x1B[2J'\n  [1] Map(1) { 'at' => 1970-01-01T00:00:00.000Z }\n  [2] 10n\n`,
    );
    expect(JSON.parse(json.stdout)).toMatchObject({ id, state: "dead", headers: { tenant: "Ana\u001b[2J" } });
    expect(json.stdout).not.toContain("secret");
    expect(JSON.parse(jsonWithArgs.stdout)).toEqual({
      ...(JSON.parse(json.stdout) as object),
      args: ["secret\u001b[2J", [["at", "1970-01-01T00:00:00.000Z"]], "10"],
    });
  });

  it("show tells arguments that cannot be decoded, and a call that is not stored", async () => {
    const id = await bury("no");
    await shop.knex(`${shop.env.TABLES}calls`).update({ payload: "{" });
    const [page, json, gone] = await Promise.all([
      carteiro("show", id, "--args"),
      carteiro("show", id, "--args", "--json"),
      carteiro("show", STRANGER),
    ]);
    expect(page.stdout).toMatch(/\narguments\n {2}could not be decoded: \w+: .+\n$/);
    expect(JSON.parse(json.stdout)).toMatchObject({ id, argsError: expect.stringMatching(/^\w+: /) as string });
    const stderr = `NotDoneError: the call ${STRANGER} is not stored, perhaps because it has run\n`;
    expect(gone).toEqual({ code: 1, stdout: "", stderr });
  });

  it.each(["retry", "discard"])("%s counts, and changes nothing without --yes", async (command) => {
    await bury("no");
    const stderr = "UsageError: nothing was changed: --yes does it\n";
    expect(await carteiro(command, "--state", "dead")).toEqual({
      code: 2,
      stdout: `would ${command} 1 call\n`,
      stderr,
    });
    expect(await states()).toEqual(["dead"]);
  });

  it("retry brings back what a filter means, and nothing else", async () => {
    await bury("no route");
    await bury("no route either");
    await bury("refused");
    expect(await carteiro("retry", "--error", "no route", "--yes")).toEqual(said("retried 2 calls"));
    expect(await states()).toEqual(["due", "due", "dead"]);
    expect(await carteiro("retry", "--error", "no route", "--yes")).toEqual(said("retried 0 calls"));
  });

  it("discard deletes what a filter means, and nothing else", async () => {
    await bury("no route");
    await bury("refused");
    expect(await carteiro("discard", "--function", "doom refused", "--yes")).toEqual(said("discarded 1 call"));
    expect(await shop.outbox.calls.list()).toMatchObject([{ function: "doom no route" }]);
  });

  it("retry and discard take ids, and fail where one cannot be", async () => {
    const ids = [await bury("no route"), await bury("refused")];
    expect(await carteiro("retry", ids[0]!, ids[0]!.toUpperCase(), STRANGER, "--yes")).toEqual({
      code: 1,
      stdout: "retried 1 call\n",
      stderr: "NotDoneError: 1 of 2 calls: not stored, or neither dead nor waiting for another attempt\n",
    });
    expect(await states()).toEqual(["due", "dead"]);
    expect(await carteiro("discard", ...ids, "--yes")).toEqual(said("discarded 2 calls"));
    expect(await carteiro("discard", ...ids, "--yes")).toEqual({
      code: 1,
      stdout: "discarded 0 calls\n",
      stderr: "NotDoneError: 2 of 2 calls: not stored, or running\n",
    });
  });

  it("discard leaves and tells what is running", async () => {
    const { id } = (await shop.slow()) as SavedCall;
    await shop.slow();
    const relaying = app.start(["relay"], shop.env);
    await relaying.printed("slow began");
    expect(await carteiro("discard", "--function", "slow", "--yes")).toEqual(
      said("discarded 1 call; 1 not, since it is running"),
    );
    expect(await carteiro("discard", id, "--yes")).toEqual({
      code: 1,
      stdout: "discarded 0 calls; 1 not, since it is running\n",
      stderr: "NotDoneError: 1 of 1 call: not stored, or running\n",
    });
    relaying.process.stdin.write("\n");
    const { stdout } = await relaying.ended;
    expect(stdout.match(/slow began/g)).toHaveLength(1);
    expect(await shop.outbox.calls.list()).toEqual([]);
  });
});
