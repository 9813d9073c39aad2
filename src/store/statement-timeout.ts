import { StatementTimeoutError } from "../errors.js";
import type { Dialect } from "./dialect.js";

/** What the drivers' connections have in common. */
export interface RawConnection {
  connect(...given: unknown[]): unknown;
  query(...given: unknown[]): unknown;
  end(...given: unknown[]): unknown;
}

/** The stream of a connection, where the driver shows one. */
export interface RawSocket {
  readonly destroyed: boolean;
  destroy(error?: Error): unknown;
  once(event: "connect" | "close", listener: () => void): unknown;
  setKeepAlive(enable: boolean, initialDelayMs: number): unknown;
}

export interface Limits {
  /** For an answer to a statement; undefined for statements that may take however long they need. */
  statementMs: number | undefined;
  /** For a connection to open: after that the pool no longer waits for it. */
  connectMs: number;
}

/** The pool's own limit for a connection's end, after which it forgets it: it is closed then. */
const GOODBYE_MS = 5000;
/** Soon enough for the system to tell of a host that is gone where a statement has no limit; its default is two hours. */
const KEEP_ALIVE_MS = 60_000;

/** The driver, with connections that are given up where the database keeps them waiting for longer than this. */
export function withLimits(driver: unknown, dialect: Dialect, limits: Limits): unknown {
  return dialect.watchedDriver(driver, (connection) => limit(connection, dialect, limits));
}

function limit(connection: RawConnection, dialect: Dialect, { statementMs, connectMs }: Limits): void {
  const socket = () => dialect.socketOf(connection);
  socket()?.once("connect", () => socket()?.setKeepAlive(true, KEEP_ALIVE_MS));
  // The pool would otherwise hand a connection out again whose statement is still on its way.
  const giveUp = (ms: number) => socket()?.destroy(silentFor(ms));
  const connect = connection.connect.bind(connection);
  const query = connection.query.bind(connection);
  const end = connection.end.bind(connection);
  connection.connect = answeredWithin(connect, Math.min(connectMs, statementMs ?? connectMs), giveUp);
  if (statementMs !== undefined) connection.query = answeredWithin(query, statementMs, giveUp);
  connection.end = (...given) => {
    closeSoon(socket(), Math.min(GOODBYE_MS, statementMs ?? GOODBYE_MS));
    return end(...given);
  };
}

function silentFor(ms: number): StatementTimeoutError {
  return new StatementTimeoutError(
    `the database has not answered for ${ms} ms, and the connection was given up; a statement that needs longer needs a longer statementTimeout`,
  );
}

type Send = (...given: unknown[]) => unknown;
type Callback = (...answer: unknown[]) => unknown;

/** The same method of a connection; it answers by a callback, or by a promise. */
function answeredWithin(send: Send, ms: number, giveUp: (ms: number) => void): Send {
  return (...given) => {
    let isAnswered = false;
    // An answer that came while this process was frozen, or busy, is read before it is given up.
    const timer = setTimeout(() => setImmediate(() => isAnswered || giveUp(ms)), ms);
    const answered = () => {
      isAnswered = true;
      clearTimeout(timer);
    };
    const place = given.findLastIndex((one) => typeof one === "function");
    const callback = given[place] as Callback | undefined;
    if (callback) {
      given[place] = (...answer: unknown[]) => {
        answered();
        return callback(...answer);
      };
    }
    const promise = send(...given);
    if (promise instanceof Promise) promise.then(answered, answered);
    else if (!callback) answered();
    return promise;
  };
}

/** A server that is gone never closes its end, and a socket that is left open keeps this process alive. */
function closeSoon(socket: RawSocket | undefined, ms: number): void {
  if (!socket || socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), ms);
  socket.once("close", () => clearTimeout(timer));
}
