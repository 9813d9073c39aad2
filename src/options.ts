import pino from "pino";
import { superjsonCodec } from "./codec.js";
import { age, flag, identifier, oneOf, refuseUnknown, timer, wholeNumber } from "./checks.js";
import { InvalidOptionError } from "./errors.js";
import { shown } from "./shown.js";
import { resolveRetry, type RetryPolicy } from "./run/retry.js";
import { resolveSigning } from "./signing.js";
import { defaultOwnConnections, dialectOf } from "./store/own-connections.js";
import { resolveTables } from "./store/tables.js";
import type {
  Codec,
  FunctionOptions,
  Logger,
  LogMethod,
  OnExhausted,
  OutboxOptions,
  Persist,
  Strategy,
} from "./types.js";

const DAY_MS = 24 * 60 * 60 * 1000;

/** `OutboxOptions` with every default filled in and every duration in milliseconds. */
export type Settings = ReturnType<typeof resolveOptions>;

/** @throws {InvalidOptionError} naming the option */
export function resolveOptions(options: OutboxOptions) {
  if (options === null || typeof options !== "object") {
    throw new InvalidOptionError("options", "are missing; call createOutbox({ knex })");
  }
  refuseUnknown("createOutbox", options, OUTBOX_OPTIONS);
  const { knex } = options;
  const dialect = dialectOf(knex);
  return {
    knex,
    tables: resolveTables(options, dialect),
    ownConnections: wholeNumber("ownConnections", options.ownConnections ?? defaultOwnConnections(knex), 0),
    strategy: oneOf("strategy", options.strategy ?? "publish-on-commit", STRATEGIES),
    persist: oneOf("persist", options.persist ?? "always", PERSISTS),
    deleteAfterSend: flag("deleteAfterSend", options.deleteAfterSend ?? true),
    retentionMs: age("retention", options.retention ?? 7 * DAY_MS),
    requireTransaction: flag("requireTransaction", options.requireTransaction ?? true),
    retry: resolveRetry("retry", options.retry ?? {}),
    maxCrashes: wholeNumber("maxCrashes", options.maxCrashes ?? 5, 1),
    timeoutMs: timer("timeout", options.timeout ?? 30_000),
    abandonAfterMs: timer("abandonAfter", options.abandonAfter ?? 300_000),
    leaseMs: timer("lease", options.lease ?? 60_000, 100),
    concurrency: wholeNumber("concurrency", options.concurrency ?? 16, 1, MOST_RUNS),
    preparesStatements: flag("prepareStatements", options.prepareStatements ?? true),
    statementTimeoutMs: timer("statementTimeout", options.statementTimeout ?? 60_000, 100),
    pollIntervalMs: timer("pollInterval", options.pollInterval ?? 1000),
    ...wakeUps(options.wakeUps ?? {}),
    writersLock: flag("writersLock", options.writersLock ?? true),
    maxPayloadBytes: wholeNumber("maxPayloadBytes", options.maxPayloadBytes ?? 1024 * 1024, 1),
    codec: codec("codec", options.codec ?? superjsonCodec),
    signing: resolveSigning(options.signing),
    logger: logger(options.logger ?? undefined),
  };
}

function wakeUps(options: NonNullable<OutboxOptions["wakeUps"]>) {
  refuseUnknown("wakeUps", options, { local: true, notify: true });
  return {
    wakesLocally: flag("wakeUps.local", options.local ?? true),
    notifies: flag("wakeUps.notify", options.notify ?? true),
  };
}

/** Far beyond what one event loop serves. */
const MOST_RUNS = 10_000;
const STRATEGIES: readonly Strategy[] = ["publish-on-commit", "keep-order"];
const ON_EXHAUSTED: readonly OnExhausted[] = ["block", "park", "skip"];
const PERSISTS: readonly Persist[] = ["always", "on-failure"];

const OUTBOX_OPTIONS: Record<keyof OutboxOptions, true> = {
  knex: true,
  schema: true,
  tablePrefix: true,
  strategy: true,
  persist: true,
  deleteAfterSend: true,
  retention: true,
  requireTransaction: true,
  retry: true,
  maxCrashes: true,
  timeout: true,
  abandonAfter: true,
  lease: true,
  concurrency: true,
  ownConnections: true,
  statementTimeout: true,
  prepareStatements: true,
  pollInterval: true,
  wakeUps: true,
  writersLock: true,
  maxPayloadBytes: true,
  codec: true,
  signing: true,
  logger: true,
};

const FUNCTION_OPTIONS: Record<keyof FunctionOptions<never[]>, true> = {
  name: true,
  aliases: true,
  stream: true,
  strategy: true,
  orderingKey: true,
  retry: true,
  timeout: true,
  codec: true,
  version: true,
  upcast: true,
  persist: true,
  deleteAfterSend: true,
  requireTransaction: true,
  onExhausted: true,
};

/** What a function's own options say, beside the outbox's. */
export interface FunctionSettings {
  name: string;
  aliases: readonly string[];
  stream: string;
  strategy: Strategy;
  persist: Persist;
  deleteAfterSend: boolean;
  requireTransaction: boolean;
  retry: RetryPolicy;
  timeoutMs: number;
  codec: Codec;
  version: number;
  onExhausted: OnExhausted;
}

/** @throws {InvalidOptionError} naming the function and the option */
export function resolveFunctionOptions(
  name: string,
  options: FunctionOptions<never[]>,
  outbox: Settings,
): FunctionSettings {
  const at = (option: string) => `${name}: ${option}`;
  refuseUnknown(at("saveToOutbox"), options, FUNCTION_OPTIONS);
  const strategy = oneOf(at("strategy"), options.strategy ?? outbox.strategy, STRATEGIES);
  const isOrdered = strategy === "keep-order";
  const settings: FunctionSettings = {
    name: identifier(at("name"), name),
    aliases: names(at("aliases"), options.aliases ?? []),
    stream: identifier(at("stream"), options.stream ?? "default"),
    strategy,
    persist: oneOf(at("persist"), options.persist ?? (isOrdered ? "always" : outbox.persist), PERSISTS),
    deleteAfterSend: flag(at("deleteAfterSend"), options.deleteAfterSend ?? outbox.deleteAfterSend),
    requireTransaction: flag(at("requireTransaction"), options.requireTransaction ?? outbox.requireTransaction),
    retry: options.retry === undefined ? outbox.retry : resolveRetry(at("retry"), options.retry),
    timeoutMs: options.timeout === undefined ? outbox.timeoutMs : timer(at("timeout"), options.timeout),
    codec: codec(at("codec"), options.codec ?? outbox.codec),
    version: wholeNumber(at("version"), options.version ?? 1, 1),
    onExhausted: oneOf(at("onExhausted"), options.onExhausted ?? "block", ON_EXHAUSTED),
  };
  if (isOrdered && options.persist === "on-failure") {
    throw new InvalidOptionError(
      at("persist"),
      `is "on-failure", which needs publish-on-commit: what is not stored has no place in an order`,
    );
  }
  if (!isOrdered && options.onExhausted !== undefined) {
    throw new InvalidOptionError(
      at("onExhausted"),
      `needs strategy: "keep-order"; an exhausted publish-on-commit call goes dead`,
    );
  }
  if (!isOrdered && options.orderingKey !== undefined) {
    throw new InvalidOptionError(
      at("orderingKey"),
      `needs strategy: "keep-order"; publish-on-commit promises no order`,
    );
  }
  if (settings.version > 1 && options.upcast === undefined) {
    throw new InvalidOptionError(
      at("upcast"),
      `is missing: calls stored at a version before ${settings.version} need it; return the arguments unchanged where they still fit`,
    );
  }
  for (const option of ["orderingKey", "upcast"] as const) {
    if (options[option] !== undefined && typeof options[option] !== "function") {
      throw new InvalidOptionError(at(option), "must be a function");
    }
  }
  return settings;
}

function names(option: string, values: readonly string[]): readonly string[] {
  if (Array.isArray(values)) return values.map((name) => identifier(option, name));
  throw new InvalidOptionError(option, `is ${shown(values)}; give an array of names`);
}

function codec(option: string, value: Codec): Codec {
  if (typeof value?.encode !== "function" || typeof value.decode !== "function") {
    throw new InvalidOptionError(option, "must have name, encode(args) and decode(text)");
  }
  identifier(`${option}.name`, value.name);
  return value;
}

const LOG_METHODS = ["debug", "info", "warn", "error"] as const;

/** A logger that throws must not stop a relay. */
function logger(value: Logger | undefined): Logger {
  if (value === undefined) return pino({ level: "silent" });
  for (const method of LOG_METHODS) {
    if (typeof value[method] !== "function") {
      throw new InvalidOptionError("logger", `has no method ${method}; pass pino, or anything shaped like it`);
    }
  }
  const guarded = (method: (typeof LOG_METHODS)[number]): LogMethod => {
    return (fields, message) => {
      // Its failure, at once or later, is nobody's to hear.
      try {
        const told = (value[method] as (...line: unknown[]) => unknown)(fields, message);
        Promise.resolve(told).catch(() => undefined);
      } catch {
        return;
      }
    };
  };
  const isLevelEnabled = (level: string) => {
    try {
      return value.isLevelEnabled?.(level) !== false;
    } catch {
      return true;
    }
  };
  return {
    debug: guarded("debug"),
    info: guarded("info"),
    warn: guarded("warn"),
    error: guarded("error"),
    isLevelEnabled,
  };
}
