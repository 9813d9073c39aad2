import { startMysql } from "./mysql.js";
import { startPostgres } from "./postgres.js";

// A test run that never ends its servers: run as a child process, to be killed.
const server = process.argv[2] === "postgresql" ? await startPostgres() : await startMysql();
process.stdout.write(`${JSON.stringify({ pid: server.pid, folder: server.folder })}\n`);
setInterval(() => {}, 60_000);
