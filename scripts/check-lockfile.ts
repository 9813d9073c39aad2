import { readFileSync } from "node:fs";

// The lock files must work with whatever registry is configured where they are used: `.npmrc` keeps addresses out of them,
// and an npm that did not read that setting is found out here.
for (const name of ["package-lock.json", "bench/package-lock.json", "bench/newest/package-lock.json"]) {
  const lockFile = new URL(`../${name}`, import.meta.url);
  const { packages } = JSON.parse(readFileSync(lockFile, "utf8")) as {
    packages: Record<string, { resolved?: string }>;
  };
  const withAddress = Object.entries(packages).filter(([, { resolved }]) => resolved && /^[a-z+]+:\/\//.test(resolved));
  if (withAddress.length === 0) continue;
  console.error(`${name} holds registry addresses for ${withAddress.length} packages:`);
  for (const [entry, { resolved }] of withAddress) console.error(`  ${entry}: ${resolved}`);
  console.error("Remove the `resolved` fields and run npm install with omit-lockfile-registry-resolved=true.");
  process.exitCode = 1;
}
