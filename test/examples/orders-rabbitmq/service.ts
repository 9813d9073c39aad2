import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ServerProcess } from "../../support/servers/server-process.js";

const example = fileURLToPath(new URL("../../../examples/orders-rabbitmq", import.meta.url));
/** Resolves the package's name to its source: the example runs without a build. */
const tsconfig = fileURLToPath(new URL("tsconfig.source.json", import.meta.url));
const run = promisify(execFile);

export interface Addresses {
  databaseUrl: string;
  amqpUrl: string;
  smtpUrl: string;
}

/** Runs the example's own migration, and its service as a process of its own. */
export async function startService(addresses: Addresses): Promise<ServerProcess> {
  const environment = {
    DATABASE_URL: addresses.databaseUrl,
    AMQP_URL: addresses.amqpUrl,
    SMTP_URL: addresses.smtpUrl,
    HOST: "127.0.0.1",
    LOG_LEVEL: "info",
    OUTBOX_LEASE: "2s",
    TSX_TSCONFIG_PATH: tsconfig,
  };
  await run(process.execPath, nodeArgs("migrate.ts"), { env: { ...process.env, ...environment } });
  return ServerProcess.create({
    name: "order-service",
    account: undefined,
    initialise: () => Promise.resolve("/usr/bin/env"),
    args: (_folder, port) => [
      ...Object.entries({ ...environment, PORT: String(port) }).map(([name, value]) => `${name}=${value}`),
      process.execPath,
      ...nodeArgs("main.ts"),
    ],
    signals: { fast: "SIGTERM", immediate: "SIGKILL", kill: "SIGKILL" },
    async probe(_folder, port) {
      const response = await fetch(`http://127.0.0.1:${port}/healthz`);
      if (!response.ok) throw new Error(`GET /healthz answered ${response.status}`);
    },
    portTaken: /EADDRINUSE/,
  });
}

function nodeArgs(script: string): string[] {
  return ["--import", import.meta.resolve("tsx"), join(example, script)];
}
