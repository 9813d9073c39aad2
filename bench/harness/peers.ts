import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The bench's folder, seen from its sources and from what is compiled alike. */
const bench = new URL(import.meta.url.includes("/dist/bench/") ? "../../../bench/" : "../", import.meta.url);

/** The newest peers need a newer Node. */
const folder = Number(process.versions.node.split(".")[0]) >= 24 ? new URL("newest/", bench) : bench;

/** Peers are no dependencies of ours: they are installed when they are first needed. */
export function installPeers(): void {
  if (existsSync(new URL("node_modules/", folder))) return;
  console.log(`npm ci in ${fileURLToPath(folder)}`);
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: folder, stdio: "inherit" });
}

/** A package of those; the caller says what it needs of it. */
export async function loadPeer(name: string): Promise<unknown> {
  const { load } = (await import(new URL("peers.js", folder).href)) as { load(name: string): Promise<unknown> };
  return load(name);
}

/** What is pinned, by name. */
export function peerVersions(): Record<string, string> {
  const { dependencies } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8")) as {
    dependencies: Record<string, string>;
  };
  return dependencies;
}
