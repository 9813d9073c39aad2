import knex, { type Knex } from "knex";
import { queryMysql, startMysql } from "../test/support/servers/mysql.js";
import { queryPostgres, startPostgres } from "../test/support/servers/postgres.js";

/** A server of the benchmark's own, with an empty database. */
export interface BenchServer {
  /** Such as `PostgreSQL 15.6`. */
  readonly title: string;
  readonly isPostgres: boolean;
  newKnex(connections: number): Knex;
}

/**
 * What `durable` changes: every commit waits for the disk, as in production. The suite's own settings, which are the default
 * here, spare that wait.
 */
const durable = {
  postgres: { fsync: "on", full_page_writes: "on" },
  mysql: { innodb_flush_log_at_trx_commit: "1" },
};

/** Does the work on PostgreSQL and on MariaDB (or MySQL), one after the other; each is gone when it is done, or failed. */
export async function onEachServer(
  work: (server: BenchServer) => Promise<void>,
  { isDurable = false } = {},
): Promise<void> {
  const startEach = [
    () => startPostgres({ settings: isDurable ? durable.postgres : {} }),
    () => startMysql({ settings: isDurable ? durable.mysql : {} }),
  ];
  for (const start of startEach) {
    const server = await start();
    const isPostgres = server.flavour === "postgresql";
    const pools: Knex[] = [];
    try {
      await (isPostgres ? queryPostgres : queryMysql)(server.url, "create database bench");
      const address = new URL(server.url);
      address.pathname = "/bench";
      await work({
        title: `${isPostgres ? "PostgreSQL" : server.flavour === "mariadb" ? "MariaDB" : "MySQL"} ${server.version}`,
        isPostgres,
        newKnex(connections) {
          const pool = knex({
            client: isPostgres ? "pg" : "mysql2",
            connection: address.href,
            pool: { min: connections, max: connections },
          });
          pools.push(pool);
          return pool;
        },
      });
    } finally {
      await Promise.all(pools.map((pool) => pool.destroy()));
      await server.stop("immediate");
    }
  }
}
