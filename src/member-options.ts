import { oneOf, refuseUnknown, timer, wholeNumber } from "./checks.js";
import { toMilliseconds } from "./duration.js";
import { InvalidOptionError } from "./errors.js";
import { shown } from "./shown.js";
import type { CallFilter } from "./store/list-calls.js";
import type { CallState, CleanOptions, ListOptions, RelayerOptions, RelayOptions } from "./types.js";

const RELAY_OPTIONS: Record<keyof RelayOptions, true> = { stream: true, limit: true, deadline: true };
const RELAYER_OPTIONS: Record<keyof RelayerOptions, true> = { stream: true, interval: true, onError: true };
const CLEAN_OPTIONS: Record<keyof CleanOptions, true> = { olderThan: true, batchSize: true, dryRun: true };
const LIST_OPTIONS: Record<keyof ListOptions, true> = {
  stream: true,
  state: true,
  function: true,
  limit: true,
  after: true,
};
const STATES: readonly CallState[] = ["pending", "due", "running", "blocked", "waiting", "sent", "dead"];
const DEFAULT_BATCH_SIZE = 1000;
const DEFAULT_PAGE = 100;
const LONGEST_PAGE = 1000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function checkRelayOptions(options: RelayOptions): RelayOptions {
  refuseUnknown("relay", options, RELAY_OPTIONS);
  const { limit, deadline } = options;
  if (limit !== undefined) wholeNumber("limit", limit, 0);
  if (deadline !== undefined && !(deadline instanceof Date && Number.isFinite(deadline.getTime()))) {
    throw new InvalidOptionError("deadline", `is ${shown(deadline)}; give a valid Date`);
  }
  return options;
}

export function resolveRelayerOptions(options: RelayerOptions, pollIntervalMs: number) {
  refuseUnknown("startRelayer", options, RELAYER_OPTIONS);
  const { stream, interval, onError } = options;
  return { stream, onError, intervalMs: interval === undefined ? pollIntervalMs : timer("interval", interval) };
}

export function resolveCleanOptions(options: CleanOptions, retentionMs: number) {
  refuseUnknown("clean", options, CLEAN_OPTIONS);
  const { olderThan, batchSize = DEFAULT_BATCH_SIZE, dryRun = false } = options;
  return {
    olderThanMs: olderThan === undefined ? retentionMs : toMilliseconds("olderThan", olderThan),
    batchSize: wholeNumber("batchSize", batchSize, 1),
    dryRun,
  };
}

export function resolveListOptions(options: ListOptions): CallFilter {
  refuseUnknown("calls.list", options, LIST_OPTIONS);
  const { function: functionName, state, after, limit = DEFAULT_PAGE, ...filter } = options;
  if (state !== undefined) oneOf("state", state, STATES);
  if (after !== undefined && !UUID.test(after)) {
    throw new InvalidOptionError("after", `is ${shown(after)}; give the id of a call`);
  }
  return { ...filter, functionName, state, after, limit: wholeNumber("limit", limit, 1, LONGEST_PAGE) };
}
