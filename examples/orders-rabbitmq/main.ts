import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { db } from "./database.js";
import { createOrderServer } from "./http.js";
import { logger } from "./logger.js";
import { outbox, publisher } from "./outbox.js";
import { settings } from "./settings.js";

outbox.startRelayer();
const server = createOrderServer().listen({ host: settings.host, port: settings.port });
await once(server, "listening");
logger.info({ port: (server.address() as AddressInfo).port }, "listening");

async function stop(): Promise<void> {
  logger.info("stopping");
  const closed = once(server, "close");
  server.close();
  await closed;
  // After the last request: its calls may just have been committed. What has not run yet waits for the next process.
  await outbox.close();
  await publisher.close();
  await db.destroy();
  logger.info("stopped");
}

// Once: a second signal ends the process at once, and the leases see to the rest.
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    stop().catch((error: unknown) => {
      logger.fatal({ err: error }, "the service could not be stopped in order");
      process.exit(1);
    });
  });
}
