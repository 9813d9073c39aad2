import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { dirname, join } from "node:path";
import { connect } from "amqplib";
import { type Account, serverAccount } from "./account.js";
import { findProgram } from "./binaries.js";
import { freePort } from "./free-port.js";
import { ServerProcess } from "./server-process.js";
import type { StopMode } from "./types.js";

const rabbitmqFolders = ["/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin"];
const erlangFolders = ["/usr/lib/erlang/erts-*/bin", "/usr/local/lib/erlang/erts-*/bin"];

/** The line to print where RabbitMQ is not installed. */
export const rabbitmqMissing =
  "RabbitMQ is missing: install its server (Debian: apt-get install rabbitmq-server; macOS: brew install rabbitmq).";

/** A private RabbitMQ node, reachable on 127.0.0.1 alone, whose data lives in a temporary folder. */
export interface TestBroker {
  /** Of the user `guest`. It stays the same over restarts. */
  readonly url: string;
  /** Holds everything of this node: data, cookie, configuration and log. */
  readonly folder: string;
  /** Of AMQP, of Erlang's distribution, and of the port mapper. */
  readonly ports: readonly number[];
  /** Of the node and of its port mapper; those that are up. */
  readonly pids: readonly number[];
  /** Brings the node down, until its process is gone, and leaves its data for `start`. (Default mode: `fast`) */
  halt(mode?: StopMode): Promise<void>;
  /** Brings a halted node up again, on the same port. */
  start(): Promise<void>;
  /** Ends the node and its port mapper for good and removes their folders. Harmless when called again. */
  stop(): Promise<void>;
}

interface RabbitmqInstallation {
  /** The script that starts a node, without the distribution's wrapper, which insists on a user and a folder. */
  server: string;
  /** Erlang's port mapper. */
  epmd: string;
}

export function findRabbitmq(): RabbitmqInstallation | undefined {
  const found = findProgram(["rabbitmq-server"], { folders: rabbitmqFolders, companions: ["rabbitmq-env"] });
  const epmd = findProgram(["epmd"], { folders: erlangFolders });
  return found && epmd ? { server: join(dirname(found), "rabbitmq-server"), epmd } : undefined;
}

/**
 * Starts a node with no queues in it. Left to itself, Erlang would use the machine's port mapper, or leave one behind
 * as a daemon: the node gets one of its own, which ends with it.
 */
export async function startRabbitmq(): Promise<TestBroker> {
  const found = findRabbitmq();
  if (!found) throw new Error(rabbitmqMissing);
  const account = serverAccount(["rabbitmq", "nobody"]);
  const epmd = await startEpmd(found.epmd, account);
  try {
    const distributionPort = await freePort();
    const node = await startNode(found.server, account, { epmdPort: epmd.port, distributionPort });
    return {
      url: urlOf(node.port),
      folder: node.folder,
      ports: [node.port, distributionPort, epmd.port],
      get pids() {
        return [node.pid, epmd.pid].filter((pid) => pid !== undefined);
      },
      halt: (mode) => node.halt(mode),
      start: () => node.start(),
      async stop() {
        await node.stop("immediate");
        await epmd.stop();
      },
    };
  } catch (error) {
    await epmd.stop();
    throw error;
  }
}

function startNode(
  server: string,
  account: Account | undefined,
  { epmdPort, distributionPort }: { epmdPort: number; distributionPort: number },
): Promise<ServerProcess> {
  const clusterName = `carteiro-test-${randomUUID()}`;
  const environment = (folder: string, port: number): Record<string, string> => ({
    PATH: process.env.PATH ?? "",
    LC_ALL: "C",
    // Where Erlang keeps its cookie.
    HOME: folder,
    RABBITMQ_NODENAME: `carteiro-${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_MNESIA_BASE: join(folder, "data"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
    RABBITMQ_CONF_ENV_FILE: join(folder, "no-rabbitmq-env.conf"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    ERL_EPMD_PORT: String(epmdPort),
    ERL_ZFLAGS: "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
    // As under systemd, the script then becomes the node instead of waiting for it as a child: its pid is the node's.
    NOTIFY_SOCKET: join(folder, "notify"),
  });

  return ServerProcess.create({
    name: "RabbitMQ",
    account,
    initialise(folder) {
      const settings = {
        cluster_name: clusterName,
        "log.file": "false",
        "log.console": "true",
        "disk_free_limit.absolute": "10MB",
      };
      const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
      writeFileSync(join(folder, "rabbitmq.conf"), lines.join(""));
      writeFileSync(join(folder, "enabled_plugins"), "[].\n");
      return Promise.resolve("/usr/bin/env");
    },
    args: (folder, port) => [
      "-i",
      ...Object.entries(environment(folder, port)).map(([name, value]) => `${name}=${value}`),
      server,
    ],
    signals: { fast: "SIGTERM", immediate: "SIGQUIT", kill: "SIGKILL" },
    async probe(_folder, port) {
      const connection = await connect(urlOf(port), { timeout: 5_000 });
      // The node may be killed while this connection closes.
      connection.on("error", () => {});
      const { cluster_name: name } = connection.connection.serverProperties;
      await connection.close();
      if (name !== clusterName) throw new Error("another server answers on this port");
    },
    portTaken: /eaddrinuse|in use by|another server answers/i,
  });
}

/** A port mapper in the foreground: it ends when it is told to, or by its guardian. */
function startEpmd(binary: string, account: Account | undefined): Promise<ServerProcess> {
  return ServerProcess.create({
    name: "epmd",
    account,
    initialise: () => Promise.resolve(binary),
    args: (_folder, port) => ["-port", String(port), "-address", "127.0.0.1"],
    signals: { fast: "SIGTERM", immediate: "SIGTERM", kill: "SIGKILL" },
    async probe(_folder, port) {
      const socket = connectTcp(port, "127.0.0.1");
      try {
        await once(socket, "connect");
      } finally {
        socket.destroy();
      }
    },
    // It ends quietly when its port is taken.
    portTaken: /ended with exit code 0/,
  });
}

function urlOf(port: number): string {
  return `amqp://guest:guest@127.0.0.1:${port}`;
}
