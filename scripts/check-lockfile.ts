import { readFileSync } from "node:fs";

// The lock file must work with whatever registry is configured where it is used: `.npmrc` keeps addresses out of it,
// and an npm that did not read that setting is found out here.
const lockFile = new URL("../package-lock.json", import.meta.url);
const { packages } = JSON.parse(readFileSync(lockFile, "utf8")) as { packages: Record<string, { resolved?: string }> };
const withAddress = Object.entries(packages).filter(([, { resolved }]) => resolved && /^[a-z+]+:\/\//.test(resolved));

if (withAddress.length > 0) {
  console.error(`package-lock.json holds registry addresses for ${withAddress.length} packages:`);
  for (const [name, { resolved }] of withAddress) console.error(`  ${name}: ${resolved}`);
  console.error("Remove the `resolved` fields and run npm install with omit-lockfile-registry-resolved=true.");
  process.exitCode = 1;
}
