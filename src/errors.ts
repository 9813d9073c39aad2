/** What every error of Carteiro has: a stable `code` to match on, and a `cause` where another error led to it. */
export abstract class CarteiroError extends Error {
  /** `CARTEIRO_` and the class's name in capitals. It holds where two copies of this package are loaded, `instanceof` doesn't. */
  abstract readonly code: string;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** An option, or something else that was passed, cannot be used. */
export class InvalidOptionError extends CarteiroError {
  readonly code = "CARTEIRO_INVALID_OPTION";
  /** Its path, such as `retry.factor`; of a function's options with the function's name first: `sendReceipt: retry.factor`. */
  readonly option: string;

  constructor(option: string, problem: string, options?: ErrorOptions) {
    super(`${option} ${problem}`, options);
    this.option = option;
  }
}

/** An argument would not come back from the codec as it went in. Nothing was stored. */
export class UnserializableArgumentError extends CarteiroError {
  readonly code = "CARTEIRO_UNSERIALIZABLE_ARGUMENT";
  /** Leads to the value, such as `args[0].items[2].onClick`. */
  readonly path: string;

  constructor(path: string, problem: string, options?: ErrorOptions) {
    super(`${path} ${problem}`, options);
    this.path = path;
  }

  /** The same error, its message led by the function that was called. */
  in(functionName: string): UnserializableArgumentError {
    const named = new UnserializableArgumentError(this.path, "", { cause: this.cause });
    named.message = `${functionName}: ${this.message}`;
    return named;
  }
}

/** The encoded arguments, with their headers, are larger than `maxPayloadBytes`. Nothing was stored. */
export class PayloadTooLargeError extends CarteiroError {
  readonly code = "CARTEIRO_PAYLOAD_TOO_LARGE";
}

/** A call was made outside a transaction, and its function requires one. Nothing was stored. */
export class TransactionRequiredError extends CarteiroError {
  readonly code = "CARTEIRO_TRANSACTION_REQUIRED";
}

/** A call was made in a transaction that has already committed or rolled back. Nothing was stored. */
export class TransactionClosedError extends CarteiroError {
  readonly code = "CARTEIRO_TRANSACTION_CLOSED";
}

/**
 * The database did not answer within `statementTimeout`, or a connection did not open in time: the link may be dead. What was
 * asked may have been done all the same.
 */
export class StatementTimeoutError extends CarteiroError {
  readonly code = "CARTEIRO_STATEMENT_TIMEOUT";
}

/** Two functions were wrapped under one name, an alias included. The second one is not registered. */
export class DuplicateFunctionError extends CarteiroError {
  readonly code = "CARTEIRO_DUPLICATE_FUNCTION";
}

/** A function was wrapped that has no name of at least three characters, and no `name` was given: a bundler would rename it. */
export class UnnamedFunctionError extends CarteiroError {
  readonly code = "CARTEIRO_UNNAMED_FUNCTION";
}

/**
 * A stored call names a function that this process has not registered. Nothing throws it yet: such a call is left to other
 * processes, and told by the event `unroutable`.
 */
export class UnknownFunctionError extends CarteiroError {
  readonly code = "CARTEIRO_UNKNOWN_FUNCTION";
}

/** The tables are not there, or older than this version needs: run `npx carteiro migrate`. */
export class NotMigratedError extends CarteiroError {
  readonly code = "CARTEIRO_NOT_MIGRATED";
}

/** The tables were migrated by a newer version of Carteiro than this one. Relaying stops; saving goes on. */
export class SchemaTooNewError extends CarteiroError {
  readonly code = "CARTEIRO_SCHEMA_TOO_NEW";
}

/** A stored payload could not be turned back into arguments: the error of a run that failed, as events show it. */
export class UndecodablePayloadError extends CarteiroError {
  readonly code = "CARTEIRO_UNDECODABLE_PAYLOAD";
}

/**
 * A stored call is not signed, or is not as it was when it was signed: the error of a run that failed before anything was
 * decoded, as events show it. The call is kept, and tried again like any that failed.
 */
export class SignatureError extends CarteiroError {
  readonly code = "CARTEIRO_SIGNATURE";
}

/**
 * A run took longer than the function's `timeout`: the reason that its signal aborts with. Also the error of a run that had
 * not returned by `abandonAfter`.
 */
export class RunTimeoutError extends CarteiroError {
  readonly code = "CARTEIRO_RUN_TIMEOUT";
}

/** The lease of a run was lost: the reason that its signal aborts with. */
export class LeaseLostError extends CarteiroError {
  readonly code = "CARTEIRO_LEASE_LOST";
}

/** A call has ended its process `maxCrashes` times while it ran alone: the error that it is given up with. */
export class CrashedError extends CarteiroError {
  readonly code = "CARTEIRO_CRASHED";
}

/**
 * A person's change of a stream is written down, but the process that serves it has not confirmed it: what that had read ahead
 * may still run. The change holds: ask again for a pause or a park, not for another skip, unless by `id`. One of an older release does so.
 */
export class UnconfirmedError extends CarteiroError {
  readonly code = "CARTEIRO_UNCONFIRMED";
}

/** A member of an outbox was called after `close`. */
export class OutboxClosedError extends CarteiroError {
  readonly code = "CARTEIRO_OUTBOX_CLOSED";
}

/** An optional package is needed and not installed. The command line throws it for a configuration in TypeScript. */
export class MissingPackageError extends CarteiroError {
  readonly code = "CARTEIRO_MISSING_PACKAGE";
}

/**
 * Thrown by a wrapped function when trying again is pointless. A publish-on-commit call goes dead at once; what becomes of a
 * keep-order one its function's `onExhausted` says.
 */
export class UnrecoverableError extends CarteiroError {
  readonly code = "CARTEIRO_UNRECOVERABLE";
}
