import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createPGlite } from "../support/pglite.js";
import { freePort } from "../support/servers/free-port.js";
import { type App, createApp } from "./app.js";

let app: App;
const written = new Set<string>();
beforeAll(async () => {
  app = await createApp();
});
afterEach(() => {
  for (const name of written) app.remove(name);
  written.clear();
});
afterAll(() => app.close());

function write(name: string, text: string): void {
  app.write(name, text);
  written.add(name);
}

function inPackage(type: "module" | "commonjs"): void {
  app.write("package.json", JSON.stringify({ private: true, type }));
}

/** What the commands need of an outbox, and a word from whoever was loaded. */
const outboxThatSays = (word: string) => `{
  migrate: async () => console.log(${JSON.stringify(word)}),
  relay() {}, startRelayer() {}, clean() {}, on() {}, close: async () => console.log("closed"),
  calls: { list() {} }, streams: { list() {} },
}`;
const said = (word: string) => ({ code: 0, stdout: `${word}\nclosed\nthe tables are up to date\n`, stderr: "" });

describe("the configuration", () => {
  it.each([
    ["carteiro.config.mjs", "module", (outbox: string) => `export default ${outbox}`],
    ["carteiro.config.mjs", "commonjs", (outbox: string) => `export default ${outbox}`],
    ["carteiro.config.js", "module", (outbox: string) => `export default ${outbox}`],
    ["carteiro.config.js", "commonjs", (outbox: string) => `module.exports = ${outbox}`],
    ["carteiro.config.cjs", "module", (outbox: string) => `module.exports = ${outbox}`],
    ["carteiro.config.cjs", "commonjs", (outbox: string) => `exports.__esModule = true; exports.default = ${outbox}`],
    ["carteiro.config.ts", "module", (outbox: string) => `enum E { a } void E.a; export default ${outbox} as object`],
    ["carteiro.config.ts", "commonjs", (outbox: string) => `enum E { a } void E.a; export default ${outbox} as object`],
    [
      "carteiro.config.mts",
      "commonjs",
      (outbox: string) => `enum E { a } void E.a; export default ${outbox} as object`,
    ],
  ] as const)("is read from %s in a package of type %s", async (name, type, text) => {
    inPackage(type);
    write(name, text(outboxThatSays(name)));
    expect(await app.run(["migrate"])).toEqual(said(name));
  });

  it("may be a promise, or a function", async () => {
    inPackage("module");
    write("promise.mjs", `export default Promise.resolve(${outboxThatSays("promise")})`);
    write("function.mjs", `export default async () => (${outboxThatSays("function")})`);
    const [ofPromise, ofFunction] = await Promise.all([
      app.run(["--config", "promise.mjs", "migrate"]),
      app.run(["migrate", "-c", join(app.folder, "function.mjs")]),
    ]);
    expect(ofPromise).toEqual(said("promise"));
    expect(ofFunction).toEqual(said("function"));
  });

  it("is TypeScript first", async () => {
    inPackage("module");
    write("carteiro.config.js", `export default ${outboxThatSays("JavaScript")}`);
    write("carteiro.config.ts", `export default ${outboxThatSays("TypeScript")}`);
    expect(await app.run(["migrate"])).toEqual(said("TypeScript"));
  });

  it.each([
    ["is missing", undefined, /^UsageError: there is no carteiro\.config\.ts, .* --config <file>\n$/],
    [
      "does not parse",
      "export default {",
      /^UsageError: carteiro\.config\.mjs could not be loaded: SyntaxError: .+\n$/,
    ],
    ["throws", "throw new Error('no\\nway')", /could not be loaded: Error: no way\n$/],
    ["rejects", "export default Promise.reject(new Error('no way'))", /could not be loaded: Error: no way\n$/],
    [
      "makes no outbox",
      "import knex from 'knex'; import { createOutbox } from 'carteiro'; export default createOutbox({ knex: knex({ client: 'pg' }), lease: 1 })",
      /could not be loaded: InvalidOptionError: lease is 1; .+\n$/,
    ],
    [
      "has no default export",
      `export const outbox = ${outboxThatSays("")}`,
      /^UsageError: carteiro\.config\.mjs has no default export; export the outbox: .+\n$/,
    ],
    ["exports a number", "export default 5", /does not export an outbox by default; .+\n$/],
    [
      "exports a knex",
      "import knex from 'knex'; export default knex({ client: 'pg' })",
      /does not export an outbox by default; .+\n$/,
    ],
    [
      "exports another thing",
      "export default { relay() {}, migrate() {} }",
      /is no outbox: it has no startRelayer; .+\n$/,
    ],
  ])("that %s is wrong use", async (_, text, message) => {
    inPackage("module");
    if (text !== undefined) write("carteiro.config.mjs", text);
    const { code, stdout, stderr } = await app.run(["status"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr.split("\n")).toHaveLength(2);
  });

  it("that exports an outbox of an older release is enough for old commands, and wrong use for others", async () => {
    inPackage("module");
    write("carteiro.config.mjs", `export default ${outboxThatSays("old")}`);
    expect(await app.run(["migrate"])).toEqual(said("old"));
    const { code, stderr } = await app.run(["pause", "orders"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^UsageError: carteiro\.config\.mjs exports an outbox without streams\.pause, of an older .+\n$/,
    );
  });

  it("that --config names and is not there is wrong use", async () => {
    const { code, stderr } = await app.run(["status", "--config", "elsewhere.ts"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^UsageError: --config elsewhere\.ts: there is no such file in .+\n$/);
  });
});

const TYPESCRIPT_OUTBOX = `
import { createOutbox, currentCall, type Outbox } from "carteiro";
import { createPGliteKnex } from "carteiro/pglite";
import { PGlite } from "@electric-sql/pglite";

enum Greeting { formal = "Good day" }

const pglite = new PGlite({ dataDir: process.env.DATA });
export const outbox: Outbox = createOutbox({ knex: createPGliteKnex(pglite), retry: { initialDelay: 1 } });
export const greet = outbox.saveToOutbox(async function greet(name: string): Promise<void> {
  if (process.env.SAVE) throw new Error("not here");
  console.log(Greeting.formal, name, currentCall().attempt);
});
`;
const TYPESCRIPT_CONFIGURATION = `
import { greet, outbox } from "./outbox.js";

export default async function configuration(): Promise<typeof outbox> {
  if (process.env.SAVE) await outbox.transaction(() => greet("Ana"));
  await outbox.idle();
  return outbox;
}
`;

describe("a TypeScript configuration", () => {
  it("runs its functions in a package of either type, on a PGlite in a folder", { timeout: 90_000 }, async () => {
    write("outbox.ts", TYPESCRIPT_OUTBOX);
    write("carteiro.config.ts", TYPESCRIPT_CONFIGURATION);
    const env = { DATA: join(app.folder, "data") };
    await makeDataFolder(env.DATA);
    inPackage("module");
    expect(await app.run(["migrate"], env)).toEqual({ code: 0, stdout: "the tables are up to date\n", stderr: "" });
    const { stdout: listed } = await app.run(["list", "--json"], { ...env, SAVE: "1" });
    expect(JSON.parse(listed)).toMatchObject([
      { function: "greet", attempts: 1, lastError: expect.stringContaining("not here") as string },
    ]);

    inPackage("commonjs");
    const { code, stdout } = await app.run(["relay"], env);
    expect(code).toBe(0);
    expect(stdout).toBe("Good day Ana 2\npublished 1, failed 0, dead 0, unroutable 0, blocked keys 0\n");
  });

  it.each(["module", "commonjs"] as const)("loads carteiro once in a package of type %s", async (type) => {
    inPackage(type);
    const files = ["outbox.js", "errors.js"].map((name) => `node_modules/carteiro/dist/src/${name}`);
    const originals = files.map((file) => app.read(file));
    try {
      files.forEach((file, at) => app.write(file, `${originals[at]!}\nconsole.log("loaded", import.meta.url);\n`));
      write("outbox.ts", `export * from "carteiro"; export { default as knex } from "knex";`);
      write(
        "carteiro.config.ts",
        `import { createOutbox, knex } from "./outbox.js";
         export default async () => {
           const again = await import("carteiro");
           console.log("same:", again.createOutbox === createOutbox);
           return createOutbox({ knex: knex({ client: "pg", connection: process.env.URL, log: { warn() {} } }) });
         };`,
      );
      const { code, stdout } = await app.run(["status"], { URL: `postgres://127.0.0.1:${await freePort()}/none` });
      expect(code).toBe(1);
      const lines = stdout.trimEnd().split("\n");
      expect(lines.pop()).toBe("same: true");
      expect(lines.map((line) => line.replace(/.*\//, "")).toSorted()).toEqual(["errors.js", "outbox.js"]);
    } finally {
      files.forEach((file, at) => app.write(file, originals[at]!));
    }
  });
});

/** A PGlite that starts in an empty folder takes much longer. */
async function makeDataFolder(dataDir: string): Promise<void> {
  const empty = await createPGlite();
  const image = await empty.dumpDataDir("none");
  await empty.close();
  const pglite = await PGlite.create({ dataDir, loadDataDir: image });
  await pglite.close();
}

describe("without tsx", () => {
  const stripsTypes = Boolean((process.features as { typescript?: unknown }).typescript);
  let bare: App;
  beforeAll(async () => {
    bare = await createApp({ without: ["tsx"] });
    bare.write("carteiro.config.ts", `export default ${outboxThatSays("TypeScript")} as object`);
    bare.write("carteiro.config.mjs", `export default ${outboxThatSays("JavaScript")}`);
  });
  afterAll(() => bare.close());

  it.skipIf(stripsTypes)("a TypeScript configuration is wrong use, and the error says what to install", async () => {
    const { code, stdout, stderr } = await bare.run(["migrate"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^MissingPackageError: Node \S+ needs the package tsx .*npm i -D tsx.*\n$/);
  });

  it.runIf(stripsTypes)("a Node that strips types reads a TypeScript configuration by itself", async () => {
    expect(await bare.run(["migrate"])).toEqual(said("TypeScript"));
  });

  it("a JavaScript configuration needs none", async () => {
    expect(await bare.run(["migrate", "--config", "carteiro.config.mjs"])).toEqual(said("JavaScript"));
  });
});
