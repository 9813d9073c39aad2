import type { Knex } from "knex";
import type { CallWriter } from "./call-writer.js";
import { InvalidOptionError, TransactionRequiredError, UnnamedFunctionError } from "./errors.js";
import { identifier, plainObject } from "./checks.js";
import { resolveFunctionOptions, type Settings } from "./options.js";
import { prepareCall } from "./prepare-call.js";
import type { FunctionDefinition, Registry } from "./registry.js";
import type { NewCall } from "./store/insert-calls.js";
import { shown } from "./shown.js";
import { type AmbientTransactions, closed, type Scope } from "./transaction.js";
import type { AnyFunction, FunctionOptions, PerCall, SavedCall, SaveToOutbox } from "./types.js";

export interface SavingParts {
  settings: Settings;
  registry: Registry;
  ambient: AmbientTransactions;
  writer: CallWriter;
  /** Runs calls at once, and stores only those that fail. */
  runUnstored(calls: readonly NewCall[]): void;
}

const SHORTEST_DEFAULT_NAME = 3;

/** The function `saveToOutbox` of an outbox. It needs no `this`. */
export function makeSaveToOutbox(parts: SavingParts): SaveToOutbox {
  return <Fn extends AnyFunction>(fn: Fn, options: FunctionOptions<Parameters<Fn>> = {}) => {
    type Args = Parameters<Fn>;
    const definition = define(parts, fn, options as FunctionOptions<never[]>);
    const save = (args: Args, perCall: PerCall & { trx?: Knex.Transaction } = {}) =>
      saveCall(parts, definition, args, perCall);
    const wrapped = (...args: Args) => save(args);
    Object.defineProperty(wrapped, "name", { value: definition.name });
    return Object.assign(wrapped, {
      in: (trx: Knex.Transaction, perCall: PerCall = {}) => {
        const within = { ...perCall, trx: requireTransaction(definition, trx) };
        return (...args: Args) => save(args, within);
      },
      with:
        (perCall: PerCall & { trx?: Knex.Transaction }) =>
        (...args: Args) =>
          save(args, perCall),
      original: fn as unknown as (...args: Args) => ReturnType<Fn>,
      functionName: definition.name,
    });
  };
}

function define(
  { settings, registry }: SavingParts,
  fn: FunctionDefinition["fn"],
  options: FunctionOptions<never[]>,
): FunctionDefinition {
  if (typeof fn !== "function")
    throw new InvalidOptionError("saveToOutbox", `takes a function, and was given ${fn === null ? "null" : typeof fn}`);
  if (options === null || typeof options !== "object")
    throw new InvalidOptionError("saveToOutbox", `was given ${shown(options)} instead of an object of options`);
  const isNamed = options.name !== undefined && options.name !== null;
  const name = isNamed ? identifier("name", options.name) : fn.name;
  if (!isNamed && name.length < SHORTEST_DEFAULT_NAME) {
    throw new UnnamedFunctionError(
      `a function ${name === "" ? "without a name" : `named "${name}"`} was wrapped; stored calls find their function by its name, so pass saveToOutbox(fn, { name: "…" })`,
    );
  }
  const { orderingKey, upcast } = options;
  const definition: FunctionDefinition = {
    ...resolveFunctionOptions(name, options, settings),
    fn,
    ...(orderingKey ? { orderingKey } : {}),
    ...(upcast ? { upcast } : {}),
  };
  registry.register(definition);
  return definition;
}

// Async, so that whatever is wrong with a call rejects; up to the first await it runs at once, so that a call that is not
// awaited is in its transaction all the same.
async function saveCall(
  parts: SavingParts,
  definition: FunctionDefinition,
  args: readonly unknown[],
  options: PerCall & { trx?: Knex.Transaction },
): Promise<SavedCall> {
  const { settings, ambient } = parts;
  plainObject(`${definition.name}: options`, options, "an object such as {delay: 5000}");
  const { trx, ...perCall } = options;
  const call = prepareCall(definition, args, perCall, settings);
  const saved = { id: call.id, function: definition.name, stream: definition.stream };
  const isStored = definition.persist === "always" || call.delayMs > 0 || call.runAtMs !== undefined;
  const scope: Scope | undefined =
    trx === undefined ? ambient.current : ambient.of(requireTransaction(definition, trx));
  if (scope) {
    scope.add(call, isStored);
  } else if (trx) {
    if (trx.isCompleted()) throw closed(call);
    await parts.writer.add(trx, call);
  } else if (definition.requireTransaction) {
    throw new TransactionRequiredError(
      `${definition.name} was called outside a transaction; call it inside outbox.transaction, as ${definition.name}.in(trx)(…), or set requireTransaction: false`,
    );
  } else if (isStored) {
    await parts.writer.writeAlone(call);
  } else {
    parts.runUnstored([call]);
  }
  return saved;
}

function requireTransaction(definition: FunctionDefinition, trx: Knex.Transaction): Knex.Transaction {
  if (typeof trx === "function" && (trx as Partial<Knex.Transaction>).isTransaction === true) return trx;
  throw new InvalidOptionError(
    `${definition.name}: trx`,
    "is no knex transaction; pass what knex.transaction gave you",
  );
}
