import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { serverAccount } from "./account.js";
import { findProgram } from "./binaries.js";
import { queryPostgres } from "./postgres.js";
import { ServerProcess } from "./server-process.js";
import type { TestServer } from "./types.js";

/** The line to print where PgBouncer is not installed. */
export const pgbouncerMissing =
  "PgBouncer is missing: install it (Debian: apt-get install pgbouncer; macOS: brew install pgbouncer).";

export interface TestPooler {
  /** As that of the PostgreSQL behind it, by way of the pooler. */
  readonly url: string;
  stop(): Promise<void>;
}

export function findPgbouncer(): string | undefined {
  return findProgram(["pgbouncer"], { folders: ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"] });
}

/** Starts a PgBouncer of its own, in transaction mode, with few connections to a PostgreSQL behind it. */
export async function startPgbouncer(postgres: TestServer, poolSize: number): Promise<TestPooler> {
  const binary = findPgbouncer();
  if (binary === undefined) throw new Error(pgbouncerMissing);
  const urlOf = (port: number) => Object.assign(new URL(postgres.url), { port: String(port) }).href;
  const account = serverAccount(["postgres", "nobody"]);
  const server = await ServerProcess.create({
    name: "PgBouncer",
    account,
    initialise(folder) {
      writeFileSync(join(folder, "users.txt"), '"postgres" ""\n');
      return Promise.resolve(binary);
    },
    args(folder, port) {
      const settings = join(folder, "pgbouncer.ini");
      const lines = [
        ...["[databases]", `* = host=127.0.0.1 port=${postgres.port}`, "[pgbouncer]"],
        ...["listen_addr = 127.0.0.1", `listen_port = ${port}`, "unix_socket_dir ="],
        ...["auth_type = trust", `auth_file = ${join(folder, "users.txt")}`],
        ...["pool_mode = transaction", `default_pool_size = ${poolSize}`, "max_client_conn = 200"],
      ];
      writeFileSync(settings, `${lines.join("\n")}\n`);
      return [settings];
    },
    signals: { fast: "SIGINT", immediate: "SIGTERM", kill: "SIGKILL" },
    async probe(_folder, port) {
      const [row] = await queryPostgres<{ data_directory: string }>(urlOf(port), "show data_directory");
      if (row?.data_directory !== postgres.dataDir) throw new Error("another server answers on this port");
    },
    portTaken: /already in use|another server answers/i,
  });
  return { url: urlOf(server.port), stop: () => server.stop("immediate") };
}
