import type { Knex } from "knex";
import { findMysql, mysqlMissing, queryMysql, startMysql } from "../../test/support/servers/mysql.js";
import { findPostgres, postgresMissing, queryPostgres, startPostgres } from "../../test/support/servers/postgres.js";
import { openKnex } from "./open-knex.js";
import { type BenchServer, type Engine, engines } from "./types.js";

/** What each server has unless it is told otherwise, commits that wait for the disk among it. */
const defaults = {
  postgresql: {
    shared_buffers: "128MB",
    max_connections: "100",
    fsync: "on",
    full_page_writes: "on",
    synchronous_commit: "on",
    deadlock_timeout: "1s",
  },
  mysql: { innodb_buffer_pool_size: "128M", max_connections: "151", innodb_flush_log_at_trx_commit: "1" },
};

/** The line to print where the server is not installed. */
export function missing(engine: Engine): string | undefined {
  if (engine === "postgresql") return findPostgres() ? undefined : postgresMissing;
  return findMysql() === undefined ? mysqlMissing : undefined;
}

/**
 * Does the work on a server that is gone when it is done, or failed.
 *
 * @param isDurable commits wait for the disk, as in production: all is at the server's own defaults. Else they spare that wait,
 *   by the settings of the test suite.
 */
export async function withServer<Result>(
  engine: Engine,
  isDurable: boolean,
  work: (server: BenchServer) => Promise<Result>,
): Promise<Result> {
  const isPostgres = engine === "postgresql";
  const settings = isDurable ? defaults[engine] : {};
  const server = await (isPostgres ? startPostgres({ settings }) : startMysql({ settings }));
  const pools: Knex[] = [];
  const newDatabase = async (name: string) => {
    await (isPostgres ? queryPostgres : queryMysql)(server.url, `create database ${name}`);
    const address = new URL(server.url);
    address.pathname = `/${name}`;
    return address.href;
  };
  try {
    const shared = await newDatabase("bench");
    return await work({
      title: `${isPostgres ? "PostgreSQL" : server.flavour === "mariadb" ? "MariaDB" : "MySQL"} ${server.version.replace(/[ -].*/, "")}`,
      engine,
      isPostgres,
      newDatabase,
      newKnex(connections) {
        const pool = openKnex(engine, shared, connections);
        pools.push(pool);
        return pool;
      },
    });
  } finally {
    await Promise.all(pools.map((pool) => pool.destroy()));
    await server.stop("immediate");
  }
}

/** Does the work on PostgreSQL and on MariaDB (or MySQL), one after the other. */
export async function onEachServer(
  work: (server: BenchServer) => Promise<void>,
  { isDurable = false } = {},
): Promise<void> {
  for (const engine of engines) await withServer(engine, isDurable, work);
}
