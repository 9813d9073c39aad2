import { age, flag, identifier, oneOf, refuseUnknown, wholeNumber } from "../checks.js";
import { toMilliseconds } from "../duration.js";
import { InvalidOptionError } from "../errors.js";
import { shown } from "../shown.js";
import type { CallFilter } from "../store/call-filter.js";
import { type Page, seqOfCursor } from "../store/list-calls.js";
import type {
  CallSelection,
  CallState,
  ChangeOptions,
  CheckOptions,
  GetOptions,
  KeyOfStream,
  ListOptions,
  ReasonOptions,
  SkipOptions,
} from "../types.js";

const SELECTION: Record<keyof CallSelection, true> = {
  stream: true,
  state: true,
  function: true,
  orderingKey: true,
  olderThan: true,
  error: true,
};
const LIST_OPTIONS: Record<keyof ListOptions, true> = { ...SELECTION, limit: true, after: true };
const CHANGE_OPTIONS: Record<keyof ChangeOptions, true> = { dryRun: true, onProgress: true };
const KEY_OPTIONS: Record<keyof KeyOfStream, true> = { stream: true, orderingKey: true };
const CHECK_OPTIONS: Record<keyof CheckOptions, true> = { maxAge: true, maxSize: true };
const GET_OPTIONS: Record<keyof GetOptions, true> = { args: true };
const REASON_OPTIONS: Record<keyof ReasonOptions, true> = { reason: true };
const SKIP_OPTIONS: Record<keyof SkipOptions, true> = { ...REASON_OPTIONS, id: true, dryRun: true };
export const STATES: readonly CallState[] = [
  "pending",
  "due",
  "running",
  "blocked",
  "waiting",
  "parked",
  "sent",
  "dead",
];
const DEFAULT_PAGE = 100;
export const LONGEST_PAGE = 1000;
const LONGEST_REASON = 1000;
const LONGEST_KEY_BYTES = 255;
const DEFAULT_MAX_AGE_MS = 600_000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function resolveListOptions(options: ListOptions): CallFilter & Page {
  refuseUnknown("calls.list", options, LIST_OPTIONS);
  const { after, limit = DEFAULT_PAGE, ...selection } = options;
  return {
    ...filterOf(selection),
    ...(after === undefined ? {} : { after: place(after) }),
    limit: wholeNumber("limit", limit, 1, LONGEST_PAGE),
  };
}

export function resolveGetOptions(options: GetOptions): { args: boolean } {
  refuseUnknown("calls.get", options, GET_OPTIONS);
  return { args: options.args !== undefined && flag("args", options.args) };
}

/** @throws {InvalidOptionError} nothing narrows the calls: a forgotten filter must not mean all of them */
export function resolveCalls(what: string, calls: string | readonly string[] | CallSelection): CallFilter {
  if (typeof calls === "string") return { ids: [id("id", calls)] };
  if (Array.isArray(calls)) return { ids: (calls as readonly string[]).map((one) => id("id", one)) };
  refuseUnknown(what, calls, SELECTION);
  const filter = filterOf(calls as CallSelection);
  if (Object.values(filter).some((value) => value !== undefined)) return filter;
  throw new InvalidOptionError(
    what,
    `was given nothing that narrows the calls; give an id, or one of ${Object.keys(SELECTION).join(", ")}`,
  );
}

export function resolveChangeOptions(what: string, options: ChangeOptions): ChangeOptions {
  refuseUnknown(what, options, CHANGE_OPTIONS);
  if (options.dryRun !== undefined) flag("dryRun", options.dryRun);
  if (options.onProgress !== undefined && typeof options.onProgress !== "function") {
    throw new InvalidOptionError("onProgress", "must be a function");
  }
  return options;
}

export function resolveKey(what: string, key: KeyOfStream): { stream: string; key: Buffer } {
  refuseUnknown(what, key, KEY_OPTIONS);
  return {
    stream: identifier("stream", key.stream),
    key: orderingKey(key.orderingKey === undefined ? "" : key.orderingKey),
  };
}

export function resolveReason(what: string, options: ReasonOptions): string | undefined {
  refuseUnknown(what, options, REASON_OPTIONS);
  return reasonText(options.reason);
}

export function resolveSkipOptions(options: SkipOptions): SkipOptions {
  refuseUnknown("keys.skipHead", options, SKIP_OPTIONS);
  const { reason, id: only, dryRun } = options;
  if (dryRun !== undefined) flag("dryRun", dryRun);
  return { reason: reasonText(reason), id: only === undefined ? undefined : id("id", only), dryRun };
}

function reasonText(reason: unknown): string | undefined {
  if (reason === undefined) return undefined;
  if (
    typeof reason === "string" &&
    reason.length <= LONGEST_REASON &&
    !reason.includes("\0") &&
    reason.isWellFormed()
  ) {
    return reason;
  }
  throw new InvalidOptionError("reason", `is ${shown(reason)}; give a text of at most ${LONGEST_REASON} characters`);
}

export function resolveCheckOptions(options: CheckOptions): { maxAgeMs: number; maxSize: number } {
  refuseUnknown("check", options, CHECK_OPTIONS);
  const { maxAge, maxSize } = options;
  return {
    maxAgeMs: maxAge === undefined ? DEFAULT_MAX_AGE_MS : toMilliseconds("maxAge", maxAge),
    maxSize: maxSize === undefined ? Infinity : wholeNumber("maxSize", maxSize, 0),
  };
}

export function id(option: string, value: unknown): string {
  if (typeof value === "string" && UUID.test(value)) return value.toLowerCase();
  throw new InvalidOptionError(option, `is ${shown(value)}; give the id of a call`);
}

function place(after: unknown): NonNullable<Page["after"]> {
  const seq = seqOfCursor(after);
  if (seq !== undefined) return { seq };
  if (typeof after === "string" && UUID.test(after)) return { id: after.toLowerCase() };
  throw new InvalidOptionError("after", `is ${shown(after)}; give the cursor of a listed call, or its id`);
}

function filterOf(selection: CallSelection): CallFilter {
  const { stream, state, function: functionName, orderingKey: key, olderThan, error } = selection;
  if (state !== undefined) oneOf("state", state, STATES);
  return {
    ...(stream === undefined ? {} : { stream: text("stream", stream) }),
    ...(state === undefined ? {} : { state }),
    ...(functionName === undefined ? {} : { functionName: text("function", functionName) }),
    ...(key === undefined ? {} : { orderingKey: orderingKey(key) }),
    ...(olderThan === undefined ? {} : { olderThanMs: age("olderThan", olderThan) }),
    ...(error === undefined ? {} : { error: text("error", error) }),
  };
}

function orderingKey(value: unknown): Buffer {
  const isText = typeof value === "string" && !value.includes("\0") && value.isWellFormed();
  if (isText && Buffer.byteLength(value) <= LONGEST_KEY_BYTES) return Buffer.from(value);
  throw new InvalidOptionError(
    "orderingKey",
    `is ${shown(value)}; give a text of at most ${LONGEST_KEY_BYTES} bytes, without NUL`,
  );
}

function text(option: string, value: unknown): string {
  if (typeof value === "string" && value !== "" && !value.includes("\0") && value.isWellFormed()) return value;
  throw new InvalidOptionError(option, `is ${shown(value)}; give a text that is not empty, without NUL`);
}
