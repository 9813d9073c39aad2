import { execFileSync } from "node:child_process";

/** The user that a server runs as. */
export interface Account {
  uid: number;
  gid: number;
}

/**
 * PostgreSQL refuses to run as root, so root starts servers as the first of these users that exists.
 * Undefined when this process is not root: servers then run as whoever runs the tests.
 */
export function serverAccount(candidates: string[]): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of candidates) {
    try {
      return { uid: idOf("-u", name), gid: idOf("-g", name) };
    } catch {
      continue;
    }
  }
  throw new Error(`Servers can't run as root, and none of these users exists: ${candidates.join(", ")}.`);
}

function idOf(flag: string, name: string): number {
  return Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}
