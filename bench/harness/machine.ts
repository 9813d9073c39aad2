import { readFileSync } from "node:fs";
import os from "node:os";
import { peerVersions } from "./peers.js";

/** What the figures depend on beside the code. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  platform: string;
  node: string;
  packages: Record<string, string>;
}

/** Ours, and what is measured beside it or below it. */
const installed = ["knex", "pg", "mysql2", "superjson"];

export function machine(): Machine {
  const versions = installed.map((name) => [name, installedVersion(name)]);
  return {
    cpu: os.cpus()[0]?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    platform: `${os.type()} ${os.arch()}`,
    node: process.version,
    packages: { ...(Object.fromEntries(versions) as Record<string, string>), ...peerVersions() },
  };
}

function installedVersion(name: string): string {
  const file = new URL(`../../node_modules/${name}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

export function describe({ cpu, cores, memoryGiB, platform, node, packages }: Machine): string {
  const versions = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${platform}, Node.js ${node}, ${versions.join(", ")}`;
}
