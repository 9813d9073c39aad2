import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runProgram } from "../../src/cli/program.js";
import { type App, createApp } from "./app.js";
import { fakeScreen } from "./fake-screen.js";

let app: App;
beforeAll(async () => {
  app = await createApp();
});
afterAll(() => app.close());

const SELECTION = ["--stream", "--state", "--function", "--key", "--older-than", "--error"];

describe("the command line", () => {
  it("prints its version", async () => {
    const { version } = JSON.parse(app.read("node_modules/carteiro/package.json")) as { version: string };
    expect(await app.run(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });

  it("names its commands, and where the functions come from", async () => {
    const { code, stdout } = await app.run(["--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Usage: carteiro \[options\] \[command\]\n/);
    for (const command of ["migrate", "relay", "clean", "status", "list"]) expect(stdout).toContain(`\n  ${command} `);
    expect(stdout).toContain("import every module there that uses saveToOutbox");
  });

  it.each([
    ["migrate", []],
    ["relay", ["--stream", "--loop", "--interval", "--cron"]],
    ["clean", ["--older-than", "--dry-run"]],
    ["status", ["--json"]],
    ["check", ["--max-age", "--max-size", "--json"]],
    ["list", [...SELECTION, "--limit", "--after", "--json"]],
    ["show", ["--args", "--json"]],
    ["retry", [...SELECTION, "--yes"]],
    ["discard", [...SELECTION, "--yes"]],
    ["pause", ["--reason"]],
    ["resume", ["--key"]],
    ["retry-head", ["--key"]],
    ["skip-head", ["--key", "--id", "--reason", "--yes"]],
    ["park", ["--key"]],
  ])("explains %s, with an example", async (command, options) => {
    const { code, stdout, stderr } = await app.run([command, "--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(new RegExp(`^Usage: carteiro ${command} `));
    expect(stdout).toMatch(new RegExp(`^Examples?:\n  \\$ carteiro ${command}`, "m"));
    for (const option of [...options, "--config", "--verbose"]) expect(stdout).toContain(`${option} `);
  });

  it("without a command shows its help as wrong use", async () => {
    const { code, stdout, stderr } = await app.run([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^Usage: carteiro/);
  });

  it("tells wrong use in one line", async () => {
    const { code, stdout, stderr } = await app.run(["relay", "--lop"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toBe("UsageError: unknown option '--lop' (Did you mean --loop?)\n");
  });
});

describe("wrong use", () => {
  it.each([
    [["fly"], "unknown command 'fly'"],
    [["migrate", "now"], "too many arguments for 'migrate'. Expected 0 arguments but got 1."],
    [["relay", "--loop", "--interval", "soon"], /'soon' is invalid\. Give a text such as "100ms"/],
    [["relay", "--loop", "--interval", "0"], /'0' is invalid\. Give/],
    [["relay", "--loop", "--interval", "25d"], /'25d' is invalid\. The longest interval is 24 days\./],
    [["relay", "--interval", "1s"], "--interval needs --loop"],
    [["relay", "--cron", "each monday"], /'each monday' is invalid\. Unknown alias/],
    [["relay", "--cron", "61 * * * *"], /'61 \* \* \* \*' is invalid\. .*61/],
    [["relay", "--cron", "* * * * *", "--loop"], /'--loop' cannot be used with option '--cron <expression>'/],
    [["clean", "--older-than", "never"], /'never' is invalid\. Give a text such as "100ms"/],
    [["clean", "--older-than", "-1d"], /'-1d' is invalid\. Give/],
    [["list", "--limit", "1001"], /'1001' is invalid\. Give a whole number from 1 to 1000\./],
    [["list", "--limit", "some"], /'some' is invalid\. Give a whole number/],
    [["check", "--max-age", "soon"], /'soon' is invalid\. Give a text such as "100ms"/],
    [["check", "--max-size", "-1"], /'-1' is invalid\. Give a whole number of at least 0\./],
    [["check", "--max-size", ""], /'' is invalid\. Give a whole number/],
    [["retry"], "retry needs to know which calls: give ids, or an option such as --stream or --state"],
    [["discard", "--yes"], "discard needs to know which calls: give ids, or an option such as --stream or --state"],
    [["discard", "0190", "--state", "dead"], "discard takes ids or options that narrow, not both"],
    [["show"], "missing required argument 'id'"],
    [["pause"], "missing required argument 'stream'"],
    [["list", "--state", "lost"], /'lost' is invalid\. Allowed choices are pending, due/],
  ])("%j", async (args, message) => {
    const { screen, printed } = fakeScreen();
    expect(await runProgram(args, screen)).toBe(2);
    const { stdout, stderr } = printed;
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^UsageError: .+\n$/);
    if (typeof message === "string") expect(stderr).toBe(`UsageError: ${message}\n`);
    else expect(stderr).toMatch(message);
  });
});
