import { accessSync, constants, readdirSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

/** Folders of the system's server binaries that are not on everybody's PATH; `*` stands for part of one name. */
export const postgresFolders = [
  "/usr/lib/postgresql/*/bin",
  "/usr/pgsql-*/bin",
  "/opt/homebrew/opt/postgresql@*/bin",
  "/usr/local/opt/postgresql@*/bin",
];
export const mysqlFolders = [
  "/usr/sbin",
  "/usr/local/sbin",
  "/usr/libexec",
  "/opt/homebrew/opt/mariadb*/bin",
  "/opt/homebrew/opt/mysql*/bin",
  "/usr/local/opt/mariadb*/bin",
  "/usr/local/opt/mysql*/bin",
];

/**
 * The folder of the first program in PATH, or else in `folders` (newest version first), that has all of its
 * `companions` beside it. A link is followed first: Debian's `postgres` in PATH has no `initdb` beside it.
 */
export function findProgram(
  names: string[],
  options: { folders: string[]; companions?: string[]; path?: string | undefined },
): string | undefined {
  const path = (options.path ?? process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const folder of [...path, ...options.folders.flatMap(expand)]) {
    for (const name of names) {
      const program = resolveExecutable(join(folder, name));
      if (program && (options.companions ?? []).every((other) => resolveExecutable(join(dirname(program), other)))) {
        return program;
      }
    }
  }
  return undefined;
}

function resolveExecutable(file: string): string | undefined {
  try {
    accessSync(file, constants.X_OK);
    return realpathSync(file);
  } catch {
    return undefined;
  }
}

/** The folders that a pattern stands for, the highest version first. */
function expand(pattern: string): string[] {
  const parts = pattern.split("/");
  const at = parts.findIndex((part) => part.includes("*"));
  if (at === -1) return [pattern];
  const parent = parts.slice(0, at).join("/");
  const [before, after] = parts[at]!.split("*") as [string, string];
  return namesIn(parent)
    .filter((name) => name.startsWith(before) && name.endsWith(after))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))
    .map((name) => [parent, name, ...parts.slice(at + 1)].join("/"));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
