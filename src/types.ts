/**
 * The words of this library, as types.
 *
 * - **call**: one stored invocation: a function's name and its encoded arguments.
 * - **function**: what `saveToOutbox` wrapped, known by its registered name, never by its code.
 * - **stream**: a named lane of calls; `default` where none is given.
 * - **strategy**: who runs a call, and in what order: `publish-on-commit` or `keep-order`.
 * - **ordering key**: within a keep-order stream, the calls that must stay in order among themselves. Calls without one
 *   form a lane of their own.
 * - **run, attempt**: one execution of the function for a call; how many there were.
 * - **settle**: write down a run's outcome.
 * - **lease**: the right to run a call, or to serve a stream, until a moment on the database's clock, with a token that
 *   fences every settle.
 * - **relay, relayer**: one pass over due calls; the loop of passes.
 * - **due**: pending, and its `due_at` has passed. **running**: claimed under a live lease.
 * - **sent**: ran successfully and kept for the cleaner. **dead**: given up, kept until a person retries it.
 * - **blocked**: a keep-order head that failed and waits for its next attempt; its key waits behind it.
 * - **parked**: a key set aside, with all its calls in order, later ones too, until a person resumes it.
 * - **paused**: a stream that nothing runs from until it is resumed.
 * - **discarded**: removed by a person.
 * - **unroutable**: a call whose function this process has not registered.
 */
export type * from "./types/call.js";
export type * from "./types/settings.js";
export type * from "./types/logger.js";
export type * from "./types/events.js";
export type * from "./types/outbox-options.js";
export type * from "./types/functions.js";
export type * from "./types/relaying.js";
export type * from "./types/stored-calls.js";
export type * from "./types/streams.js";
