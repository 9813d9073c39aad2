/**
 * Knex on PGlite, the PostgreSQL that runs inside a Node.js process.
 *
 * @module carteiro/pglite
 */
import type { PGlite } from "@electric-sql/pglite";
import knex, { type Knex } from "knex";
import { InvalidOptionError } from "./errors.js";
import { PGliteConnection, type PGliteConnectionSettings } from "./pglite/connection.js";

/** What `createPGliteKnex` takes of knex's own configuration: all but what says which database to connect to. */
export type PGliteKnexConfig = Omit<Knex.Config, "client" | "dialect" | "connection" | "connectionPool">;

interface PGliteClientConfig extends Knex.Config {
  pglite: PGlite;
}

const defaultWaitMs = 60_000;

// Taken from an instance, not from knex's files: knex does not export its dialects.
const { client: postgresClient } = knex({ client: "pg" }) as { client: Knex.Client };
const PostgresClient = postgresClient.constructor as typeof Knex.Client;

/**
 * Knex's PostgreSQL dialect with a PGlite in the place of a server. Made by `createPGliteKnex`.
 *
 * @internal
 */
export class PGliteClient extends PostgresClient {
  constructor(config: PGliteClientConfig) {
    const { pglite, ...knexConfig } = config;
    // knex copies `connection` deeply, which a PGlite does not survive: it gets an empty one.
    super({ ...knexConfig, connection: {} });
    const waitMs = config.acquireConnectionTimeout ?? config.pool?.acquireTimeoutMillis ?? defaultWaitMs;
    this.connectionSettings = { pglite, waitMs } satisfies PGliteConnectionSettings;
  }

  _driver(): { Client: typeof PGliteConnection } {
    return { Client: PGliteConnection };
  }

  override poolDefaults(): ReturnType<Knex.Client["poolDefaults"]> {
    return { ...super.poolDefaults(), min: 0, max: 1 };
  }

  _stream(_connection: unknown, _query: unknown, stream: NodeJS.WritableStream): Promise<never> {
    const error = new Error("PGlite gives a result as a whole: await the query instead of streaming it.");
    stream.emit("error", error);
    return Promise.reject(error);
  }
}

PGliteClient.prototype.canCancelQuery = false;
// One session: there is nothing to open a second connection to.
Object.assign(PGliteClient.prototype, { embedded: true });

/**
 * A knex instance on a PGlite, with the results, the types and the errors that knex gives on node-postgres. Streams,
 * cancelling and named statements are left out.
 *
 * A PGlite is one session, so the pool has one connection: a query of the instance itself that is awaited inside one of its
 * transactions waits until it times out. While a transaction of the instance is open, `pglite.query()` and another
 * instance's statements wait for its end, and the other way round (at most `acquireConnectionTimeout`, default 60 s).
 * What belongs to a session (`set`, advisory locks, temporary tables) is shared by all who use the PGlite, and outlives
 * `knex.destroy()`, which leaves the PGlite open.
 *
 * @param pglite - yours to close, after `knex.destroy()`
 * @param config - of knex, without `client` and `connection`; a `pool` may have anything but a `max` or `min` above 1
 * @throws `InvalidOptionError`: something that is no PGlite was given, or a larger pool
 */
export function createPGliteKnex(pglite: PGlite, config: PGliteKnexConfig = {}): Knex {
  refuseOthers(pglite);
  refuseLargerPool(config.pool);
  const clientConfig = { ...config, client: PGliteClient, pglite };
  return knex(clientConfig as unknown as Knex.Config);
}

const neededMethods = ["execProtocol", "runExclusive", "_runExclusiveTransaction", "syncToFs"] as const;

function refuseOthers(pglite: unknown): void {
  const given = (pglite ?? {}) as Record<string, unknown>;
  const missing = neededMethods.find((method) => typeof given[method] !== "function");
  if (missing === undefined) return;
  throw new InvalidOptionError(
    "pglite",
    `has no ${missing}(); pass a PGlite of @electric-sql/pglite, started in this process`,
  );
}

function refuseLargerPool(pool: Knex.PoolConfig | undefined): void {
  for (const bound of ["min", "max"] as const) {
    const size = pool?.[bound];
    const isRight = size === undefined || size === 1 || (bound === "min" && size === 0);
    if (!isRight) {
      throw new InvalidOptionError(`pool.${bound}`, `is ${size}; PGlite has one connection: leave it out`);
    }
  }
}
