/** Creates the tables of the outbox and of the shop. Run it before the service of a new version starts. */
import { createTables, db } from "./database.js";
import { outbox } from "./outbox.js";

await outbox.migrate();
await createTables();
await outbox.close();
await db.destroy();
