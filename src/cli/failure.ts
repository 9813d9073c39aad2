import { inspect } from "node:util";
import { CommanderError } from "commander";
import { MissingPackageError } from "../errors.js";
import type { Screen } from "./screen.js";
import { oneLine } from "./text.js";

const WORK_FAILED = 1;
const WRONG_USE = 2;

/** What was asked for cannot be done as it was asked: an option or the configuration is wrong. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "UsageError";
  }
}

/** What was asked for was not done, since there is nothing such, or nobody confirmed it. */
export class NotDoneError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NotDoneError";
  }
}

/** Ends a command as failed that has told all there is to tell. */
export class ToldError extends Error {}

/** 0 where `--help` or `--version` ended the command, 1 where the work failed, 2 for wrong use. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USE;
  const isWrongUse = error instanceof UsageError || error instanceof MissingPackageError || isInvalidOption(error);
  return isWrongUse ? WRONG_USE : WORK_FAILED;
}

/** By its code: the configuration may use another copy of this library. */
function isInvalidOption(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === "CARTEIRO_INVALID_OPTION";
}

/** One line for the error; its stack and its causes too where `isVerbose`. */
export function report(screen: Screen, error: unknown, isVerbose: boolean): void {
  if (error instanceof CommanderError) {
    // Help and version have been printed already.
    if (error.message.startsWith("error: ")) screen.warn(oneLine(error.message.replace("error: ", "UsageError: ")));
    return;
  }
  if (error instanceof ToldError) return;
  screen.warn(isVerbose && error instanceof Error ? inspect(error) : describeError(error));
}

/** An error as `name: message`, on one line. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(`thrown: ${inspect(error)}`);
  return oneLine(`${error.name}: ${messageOf(error)}`);
}

/** Of a host with several addresses, a refused connection is an error without a message over one per address. */
function messageOf(error: Error): string {
  if (error.message !== "") return error.message;
  if (error instanceof AggregateError) return error.errors.map((one) => messageOf(one as Error)).join("; ");
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "it has no message";
}
