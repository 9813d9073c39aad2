import { existsSync, mkdirSync, chownSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import mysql from "mysql2/promise";
import { type Account, serverAccount } from "./account.js";
import { findProgram, mysqlFolders } from "./binaries.js";
import { runProgram } from "./run-program.js";
import { ServerProcess } from "./server-process.js";
import type { StartOptions, TestServer } from "./types.js";

const suiteSettings = {
  bind_address: "127.0.0.1",
  max_connections: "200",
  innodb_buffer_pool_size: "64M",
  // Written at each commit, never synced: a crash of the server loses no commit, and nothing outlives the machine here.
  innodb_flush_log_at_trx_commit: "2",
  character_set_server: "utf8mb4",
  collation_server: "utf8mb4_general_ci",
  // Not UTC, so that a moment which crosses the driver in local time is seen to be wrong.
  default_time_zone: "-03:00",
  skip_log_bin: "1",
};

/** The line to print where neither MariaDB nor MySQL is installed. */
export const mysqlMissing =
  "MariaDB is missing: install its server (Debian: apt-get install mariadb-server-core; macOS: brew install mariadb).";

export function findMysql(): string | undefined {
  return findProgram(["mariadbd", "mysqld"], { folders: mysqlFolders });
}

/** Starts a MariaDB of its own, or a MySQL where that is what is installed; its user `root` needs no password. */
export async function startMysql(options: StartOptions = {}): Promise<TestServer> {
  const binary = findMysql();
  if (binary === undefined) throw new Error("No MariaDB or MySQL server binary was found (mariadbd or mysqld).");
  const account = serverAccount(["mysql", "nobody"]);
  const flavour = (await runProgram(binary, ["--no-defaults", "--version"], { account })).includes("MariaDB")
    ? "mariadb"
    : "mysql";
  const settings = { ...suiteSettings, ...(flavour === "mysql" && { mysqlx: "OFF" }), ...options.settings };
  const dataDirOf = (folder: string) => join(folder, "data");

  const server = await ServerProcess.create({
    name: flavour === "mariadb" ? "MariaDB" : "MySQL",
    account,
    async initialise(folder) {
      if (flavour === "mariadb") await bootstrapMariadb(binary, dataDirOf(folder), account);
      else await initialiseMysql(binary, dataDirOf(folder), account);
      return binary;
    },
    args: (folder, port) => [
      "--no-defaults",
      ...[`--datadir=${dataDirOf(folder)}`, `--tmpdir=${folder}`, `--port=${port}`],
      ...[`--socket=${join(folder, "socket")}`, `--pid-file=${join(folder, "pid")}`],
      ...Object.entries(settings).map(([name, value]) => `--${name}=${value}`),
    ],
    signals: { fast: "SIGTERM", immediate: "SIGKILL", kill: "SIGKILL" },
    async probe(folder, port) {
      const [row] = await queryMysql<{ datadir: string }>(urlOf(port), "select @@datadir as datadir");
      if (row?.datadir !== `${dataDirOf(folder)}/`) throw new Error("another server answers on this port");
    },
    portTaken: /Bind on TCP\/IP port|Address already in use|another server answers/i,
  });

  const url = urlOf(server.port);
  const [row] = await queryMysql<{ version: string }>(url, "select version() as version");
  return server.describe({ flavour, version: row!.version, url, dataDir: dataDirOf(server.folder) });
}

/** One statement on a connection of its own. */
export async function queryMysql<Row extends object>(
  url: string,
  statement: string,
  bindings: unknown[] = [],
): Promise<Row[]> {
  const connection = await mysql.createConnection({ uri: url, connectTimeout: 5_000 });
  // A connection that is cut while idle would otherwise end the process; the query itself rejects.
  connection.on("error", () => {});
  try {
    const [rows] = await connection.query({ sql: statement, timeout: 30_000 }, bindings);
    return rows as Row[];
  } finally {
    await connection.end();
  }
}

/**
 * What mariadb-install-db does, without the program that it needs from the client's package: only the server may be
 * installed.
 */
async function bootstrapMariadb(binary: string, dataDir: string, account: Account | undefined): Promise<void> {
  const share = findSystemTables(binary);
  const script = (name: string) => {
    const file = ["mariadb", "mysql"].map((prefix) => join(share, `${prefix}_${name}.sql`)).find(existsSync);
    if (file === undefined) throw new Error(`${share} has no script ${name}.sql to set up MariaDB's own tables.`);
    return readFileSync(file, "utf8");
  };
  const input = [
    // A bootstrap script has each statement on lines of its own.
    ...["create database mysql;", "use mysql;", "set @auth_root_socket = null;"],
    ...["system_tables", "performance_tables", "system_tables_data"].map(script),
  ].join("\n");
  mkdirSync(dataDir);
  if (account) chownSync(dataDir, account.uid, account.gid);
  const args = [
    "--no-defaults",
    "--bootstrap",
    `--datadir=${dataDir}`,
    // A server that starts deletes what another one keeps in a shared folder.
    `--tmpdir=${join(dataDir, "..")}`,
    "--log-warnings=0",
    "--enforce-storage-engine=",
  ];
  await runProgram(binary, [...args, "--max-allowed-packet=8M", "--net-buffer-length=16K"], { account, input });
}

async function initialiseMysql(binary: string, dataDir: string, account: Account | undefined): Promise<void> {
  await runProgram(
    binary,
    ["--no-defaults", "--initialize-insecure", `--datadir=${dataDir}`, `--tmpdir=${join(dataDir, "..")}`],
    { account },
  );
}

function findSystemTables(binary: string): string {
  const prefix = dirname(dirname(binary));
  const candidates = ["mariadb", "mysql"].map((name) => join(prefix, "share", name));
  const found = candidates.find((folder) => existsSync(folder) && readdirSync(folder).some(isSystemTables));
  if (found === undefined)
    throw new Error(`MariaDB's system tables (*_system_tables.sql) are not in ${candidates.join(" or ")}.`);
  return found;
}

function isSystemTables(file: string): boolean {
  return /^(mariadb|mysql)_system_tables\.sql$/.test(file);
}

function urlOf(port: number): string {
  return `mysql://root@127.0.0.1:${port}/mysql`;
}
