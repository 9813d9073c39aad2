import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Outbox } from "../outbox.js";
import { describeError, UsageError } from "./failure.js";
import { enableTypeScript, isTypeScript } from "./typescript.js";

/** In the working directory, the first of these that is there. */
const FILE_NAMES = ["ts", "mts", "js", "mjs", "cjs"].map((extension) => `carteiro.config.${extension}`);

/** What the commands need of an outbox. */
const METHODS = ["migrate", "relay", "startRelayer", "clean", "on", "close"] as const;
const LISTS = ["calls", "streams"] as const;

/** A member that only some commands need, and that an outbox of an older release lacks. */
export type Hand =
  | `calls.${"get" | "retry" | "discard"}`
  | `streams.${"pause" | "resume"}`
  | `keys.${"retryHead" | "skipHead" | "park" | "resume"}`
  | "check";

/**
 * The outbox that a configuration file exports by default: itself, a promise of it, or a function that returns either.
 *
 * @param file the one to read instead of `carteiro.config.*` in the working directory
 * @param hands what the command needs beside what every outbox has
 * @throws {UsageError} there is none, it could not be loaded, or it exports something else, or an outbox without such a hand
 * @throws {MissingPackageError} it is TypeScript, which needs one
 */
export async function loadOutbox(file: string | undefined, hands: readonly Hand[] = []): Promise<Outbox> {
  const path = file === undefined ? find() : existing(file);
  const name = basename(path);
  if (isTypeScript(path)) await enableTypeScript(name);
  let exported: unknown;
  try {
    exported = await defaultExport(path);
  } catch (error) {
    throw new UsageError(`${name} could not be loaded: ${describeError(error)}`, { cause: error });
  }
  const problem = problemOf(exported);
  if (problem !== undefined) {
    throw new UsageError(`${name} ${problem}; export the outbox: export default createOutbox({ knex })`);
  }
  const lacking = hands.find((hand) => !has(exported, hand));
  if (lacking === undefined) return exported as Outbox;
  throw new UsageError(
    `${name} exports an outbox without ${lacking}, of an older release than this command; bring carteiro up to date there`,
  );
}

function find(): string {
  const name = FILE_NAMES.find((one) => existsSync(one));
  if (name !== undefined) return resolve(name);
  throw new UsageError(
    `there is no ${FILE_NAMES.join(", ")} in ${process.cwd()}; add one that exports the outbox by default, or name it with --config <file>`,
  );
}

function existing(file: string): string {
  if (existsSync(file)) return resolve(file);
  throw new UsageError(`--config ${file}: there is no such file in ${process.cwd()}`);
}

async function defaultExport(path: string): Promise<unknown> {
  const module = (await import(pathToFileURL(path).href)) as { default?: unknown };
  let exported = module.default;
  // TypeScript compiled to CommonJS: the module is the default export, and has one of its own.
  if (isObject(exported) && "default" in exported) exported = exported.default;
  // A knex is a function too, of what it queries.
  const isMaker = typeof exported === "function" && exported.length === 0;
  return await (isMaker ? (exported as () => unknown)() : exported);
}

/** By its shape, not its class: the configuration may use another copy of this library. */
function problemOf(exported: unknown): string | undefined {
  if (exported === undefined) return "has no default export";
  if (!isObject(exported)) return "does not export an outbox by default";
  const missing =
    METHODS.find((method) => typeof exported[method] !== "function") ??
    LISTS.find((lists) => !isObject(exported[lists]) || typeof exported[lists]["list"] !== "function");
  return missing === undefined ? undefined : `exports something by default that is no outbox: it has no ${missing}`;
}

function has(outbox: unknown, hand: Hand): boolean {
  const member = hand.split(".").reduce<unknown>((of, name) => (isObject(of) ? of[name] : undefined), outbox);
  return typeof member === "function";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
