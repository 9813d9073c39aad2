import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// Packs the package, installs it in an empty project as a user would, and uses it there: imported, required and from the
// command line, on this Node and on the newer ones named as arguments (Default: 22 and 24).

const root = fileURLToPath(new URL("..", import.meta.url));
const majors = process.argv.length > 2 ? process.argv.slice(2) : ["22", "24"];
const peers = ["knex", "pg", "@electric-sql/pglite"];

const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  devDependencies: Record<string, string>;
};

const work = mkdtempSync(join(tmpdir(), "carteiro-smoke-"));
try {
  npm(root, "pack", "--silent", "--pack-destination", work);
  const tarball = readdirSync(work).find((name) => name.endsWith(".tgz"))!;

  const project = emptyProject("project");
  npm(project, "install", join(work, tarball), ...peers.map((peer) => `${peer}@${devDependencies[peer]}`));
  cpSync(join(root, "scripts/smoke"), project, { recursive: true });

  const nodes = [process.execPath, ...majors.map(installNode)];
  for (const node of nodes) {
    run(node, ["esm.mjs"], project, node);
    run(node, ["commonjs.cjs"], project, node);
    const help = run("npx", ["--no-install", "carteiro", "--help"], project, node, "pipe");
    if (!/usage: carteiro/i.test(help)) throw new Error(`carteiro --help printed no usage:\n${help}`);
    console.log(`carteiro --help: ok on Node ${run(node, ["--version"], project, node, "pipe").trim()}`);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}

function installNode(major: string): string {
  const folder = emptyProject(`node-${major}`);
  npm(folder, "install", `node@${major}`);
  return join(folder, "node_modules/node/bin/node");
}

function emptyProject(name: string): string {
  const folder = join(work, name);
  mkdirSync(folder);
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: `smoke-${name}`, private: true, allowScripts: { node: true } }),
  );
  return folder;
}

function npm(folder: string, ...args: string[]): void {
  run("npm", ["--no-audit", "--no-fund", ...args], folder, process.execPath, "pipe");
}

/** Runs a program with `node`'s folder first in PATH; returns what it printed when `stdout` is "pipe". */
function run(
  program: string,
  args: string[],
  folder: string,
  node: string,
  stdout: "pipe" | "inherit" = "inherit",
): string {
  const { status, stdout: output } = spawnSync(program, args, {
    cwd: folder,
    env: { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` },
    encoding: "utf8",
    stdio: ["ignore", stdout, "inherit"],
  });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed (${status}) in ${folder}\n${output}`);
  return output;
}
