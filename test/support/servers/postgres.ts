import { join } from "node:path";
import pg from "pg";
import { serverAccount } from "./account.js";
import { findProgram, postgresFolders } from "./binaries.js";
import { findEmbeddedPostgres, prepareEmbeddedPostgres } from "./embedded-postgres.js";
import { runProgram } from "./run-program.js";
import { ServerProcess } from "./server-process.js";
import type { StartOptions, TestServer } from "./types.js";

/** Where the server's programs are: the system's folder of them, or the root that the npm package brings. */
export type PostgresInstallation = { binFolder: string } | { embedded: string };

const suiteSettings = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "200",
  shared_buffers: "64MB",
  // Nothing outlives the machine here. A crash of the server still loses no commit: the system has the written pages.
  fsync: "off",
  full_page_writes: "off",
  // Tests that provoke deadlocks wait this long for each.
  deadlock_timeout: "50ms",
  // Not UTC, so that a moment which crosses the driver in local time is seen to be wrong.
  timezone: "America/Sao_Paulo",
};

/** The line to print where PostgreSQL is not installed. */
export const postgresMissing =
  "PostgreSQL is missing: install its server (Debian: apt-get install postgresql; macOS: brew install postgresql).";

/** The system's PostgreSQL, else the npm package's. */
export function findPostgres(): PostgresInstallation | undefined {
  const postgres = findProgram(["postgres"], { folders: postgresFolders, companions: ["initdb"] });
  if (postgres) return { binFolder: join(postgres, "..") };
  const embedded = findEmbeddedPostgres();
  return embedded === undefined ? undefined : { embedded };
}

/** Starts a PostgreSQL of its own, with an empty data folder; the superuser `postgres` needs no password. */
export async function startPostgres(
  options: StartOptions & { installation?: PostgresInstallation } = {},
): Promise<TestServer> {
  const found = options.installation ?? findPostgres();
  if (!found) throw new Error("No PostgreSQL server binaries were found (postgres and initdb).");
  const account = serverAccount(["postgres", "nobody"]);
  const settings = { ...suiteSettings, ...options.settings };
  const dataDirOf = (folder: string) => join(folder, "data");

  const server = await ServerProcess.create({
    name: "PostgreSQL",
    account,
    async initialise(folder) {
      const binFolder =
        "binFolder" in found
          ? found.binFolder
          : join(prepareEmbeddedPostgres(found.embedded, folder, account !== undefined), "bin");
      const initdb = (localeArgs: string[]) =>
        runProgram(
          join(binFolder, "initdb"),
          ["-D", dataDirOf(folder), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", ...localeArgs],
          { account, cwd: folder },
        );
      // A language's order, as most databases have it, tells a sort that relies on bytes; not every build knows ICU.
      await initdb(["--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]).catch(() => initdb(["--locale=C"]));
      return join(binFolder, "postgres");
    },
    args: (folder, port) => [
      ...["-D", dataDirOf(folder), "-p", String(port)],
      ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ],
    signals: { fast: "SIGINT", immediate: "SIGQUIT", kill: "SIGKILL" },
    async probe(folder, port) {
      const answer = await queryPostgres<{ data_directory: string }>(urlOf(port), "show data_directory");
      if (answer[0]?.data_directory !== dataDirOf(folder)) throw new Error("another server answers on this port");
    },
    tryAgain: /pre-existing shared memory block/,
    portTaken: /could not bind|could not create any TCP\/IP sockets|another server answers/i,
  });

  const url = urlOf(server.port);
  const [row] = await queryPostgres<{ server_version: string }>(url, "show server_version");
  return server.describe({
    flavour: "postgresql",
    version: row!.server_version,
    url,
    dataDir: dataDirOf(server.folder),
  });
}

/** One statement on a connection of its own. */
export async function queryPostgres<Row extends object>(
  url: string,
  statement: string,
  bindings: unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: 30_000 });
  // A connection that is cut while idle would otherwise end the process; the query itself rejects.
  client.on("error", () => {});
  try {
    await client.connect();
    return (await client.query<Row>(statement, bindings)).rows;
  } finally {
    await client.end();
  }
}

function urlOf(port: number): string {
  return `postgres://postgres@127.0.0.1:${port}/postgres`;
}
