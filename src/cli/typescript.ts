import { createRequire } from "node:module";
import { MissingPackageError } from "../errors.js";

export function isTypeScript(path: string): boolean {
  return /\.[cm]?ts$/.test(path);
}

/**
 * Makes `import()` take TypeScript: through tsx where it is installed, else by this Node's own stripping of types.
 *
 * @throws {MissingPackageError} there is neither
 */
export async function enableTypeScript(file: string): Promise<void> {
  try {
    await registerTsx();
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    if (stripsTypes()) return;
    throw new MissingPackageError(
      `Node ${process.versions.node} needs the package tsx to read ${file}: install it (npm i -D tsx), use Node 22.18 or newer, or write the configuration in JavaScript`,
      { cause: error },
    );
  }
}

/**
 * The loader for `import`, and the one for `require`, which a configuration in a CommonJS package needs before Node 22.
 * The latter would also compile the ECMAScript modules that CommonJS requires, `carteiro` among them, into copies beside
 * the imported ones; so `.js` files stay with Node, which can require them itself.
 */
async function registerTsx(): Promise<void> {
  const [esm, cjs] = await Promise.all([import("tsx/esm/api"), import("tsx/cjs/api")]);
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- what tsx changes, and the only way to it
  const { extensions } = createRequire(import.meta.url);
  const nodes = extensions[".js"];
  cjs.register();
  extensions[".js"] = nodes;
  esm.register();
}

function stripsTypes(): boolean {
  return Boolean((process.features as { typescript?: unknown }).typescript);
}
