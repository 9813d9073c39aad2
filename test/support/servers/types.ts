/**
 * How a server is brought down. `fast` asks it to shut down in order, cutting its clients off; `immediate` lets it
 * abandon everything, so that it recovers at its next start; `kill` is SIGKILL to its main process, as in a crash.
 */
export type StopMode = "fast" | "immediate" | "kill";

/** A private server, reachable on 127.0.0.1 alone, whose data lives in a temporary folder. */
export interface TestServer {
  readonly flavour: "postgresql" | "mariadb" | "mysql";
  /** As the server itself tells it, for example `15.6` or `10.11.6-MariaDB`. */
  readonly version: string;
  /** Of a superuser, at the administrative database. It stays the same over restarts. */
  readonly url: string;
  readonly port: number;
  /** Holds everything of this server: data, socket and log. */
  readonly folder: string;
  readonly dataDir: string;
  /** Undefined while the server is down. */
  readonly pid: number | undefined;

  /** Brings the server down and leaves its data for `start`. (Default mode: `fast`) */
  halt(mode?: StopMode): Promise<void>;
  /** Brings a halted server up again, on the same port. Throws with the end of its log when it does not answer. */
  start(): Promise<void>;
  /** `halt` and `start`. */
  restart(mode?: StopMode): Promise<void>;
  /** `halt("kill")`. */
  kill(): Promise<void>;
  /** Ends the server for good and removes its folder. Harmless when called again. (Default mode: `fast`) */
  stop(mode?: StopMode): Promise<void>;
}

export interface StartOptions {
  /** Settings on top of the suite's own, for example `{ max_connections: "20" }`; underscores as the server spells them. */
  settings?: Record<string, string>;
}
