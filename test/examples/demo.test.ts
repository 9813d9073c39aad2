import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const demo = join(root, "examples/demo");

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

describe("the demo", { timeout: 120_000 }, () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "carteiro-demo-"));
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(sourceConfig));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("tells its six chapters, says nothing that is not so, and exits with 0", async () => {
    const { code, stdout, stderr } = await run(folder);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).not.toContain("\u001b");
    expect(stdout.match(/^ {2}\d {2}.*(?= ─)/gm)).toEqual(
      [
        "  1  A call is stored with the order",
        "  2  No commit, no call",
        "  3  A call that fails is run again",
        "  4  In order, for each customer",
        "  5  The cleaner",
        "  6  A busy afternoon, in numbers",
      ].map((heading) => expect.stringContaining(heading) as string),
    );
    for (const line of [
      / {4}in the transaction +sendReceipt +pending +0$/m,
      / {4}after the run +\(no row\) +1$/m,
      / {4}in the transaction +1 +1 +0\n {4}after the ROLLBACK +0 +0 +0$/m,
      / {4}1 .*✗ the mail service hung up\n.* 2 .*✗ the mail service hung up\n.* 3 .*✓ sent$/m,
      / {4}Ana +✓ sent +✗ failed +· waits\n {4}Bruno +✓ sent +✓ sent +✓ sent$/m,
      / {4}Ana +✓ sent +✓ sent, attempt 3 +✓ sent +✓ sent$/m,
      / {4}before +12 +1 +1\n {4}after +0 +1 +1$/m,
      / {4}publishOrder +0 +48 +\d+ +0 +[\d.]+ ms$/m,
    ])
      expect(stdout).toMatch(line);
    const claims = stdout.match(/^ {2}✓ /gm)?.length;
    expect(claims).toBeGreaterThan(20);
    expect(stdout).toContain(`All ${claims} claims with a ✓ were checked`);
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  it("says what is not so, and exits with 1, where the world is not as it tells", async () => {
    const service = pathToFileURL(join(demo, "flaky-service.ts")).href;
    const neverRefuses = join(folder, "never-refuses.mjs");
    await writeFile(
      neverRefuses,
      `import { FlakyService } from ${JSON.stringify(service)}; FlakyService.prototype.refuse = () => {};`,
    );
    const { code, stdout, stderr } = await run(folder, "--import", pathToFileURL(neverRefuses).href);
    expect(code).toBe(1);
    expect(stderr).toContain('The demo failed in chapter 3, "A call that fails is run again".');
    expect(stderr).toContain('It is not so: "After the first failure her order stood');
    expect(stdout).not.toContain("claims with a ✓");
  });
});

/** The demo imports the package by its name: here that is the source, whatever was built before. */
const sourceConfig = {
  extends: join(root, "tsconfig.json"),
  compilerOptions: {
    paths: { carteiro: [join(root, "src/index.ts")], "carteiro/pglite": [join(root, "src/pglite.ts")] },
  },
  include: [root],
};

/** Runs the demo as `npm run demo` does, without a terminal and with little else than a PATH in its environment. */
function run(folder: string, ...nodeOptions: string[]): Promise<Ended> {
  const env = { PATH: process.env.PATH, CI: "true", TSX_TSCONFIG_PATH: join(folder, "tsconfig.json") };
  const args = ["--import", "tsx", ...nodeOptions, join(demo, "main.ts")];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root, env }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}
