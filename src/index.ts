/**
 * Wrap a function with `saveToOutbox`, call it inside a database transaction, and the call is stored in that transaction. It
 * runs once the transaction has committed, and again until it succeeds. Start with {@link createOutbox}.
 *
 * @module carteiro
 */
export {
  createSuperjsonCodec,
  type AnyClass,
  type ClassRegistration,
  type SuperjsonCodecOptions,
  type Transformer,
} from "./codec.js";
export * from "./errors.js";
export type { CallsOperator } from "./operator/calls.js";
export type { KeysOperator } from "./operator/keys.js";
export type { StreamsOperator } from "./operator/streams.js";
export { createOutbox, type Outbox } from "./outbox.js";
export { currentCall } from "./run/current-call.js";
export type * from "./types.js";
