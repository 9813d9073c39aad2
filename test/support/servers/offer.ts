import { findMysql, mysqlMissing, queryMysql, startMysql } from "./mysql.js";
import { findPostgres, postgresMissing, queryPostgres, startPostgres } from "./postgres.js";
import type { TestServer } from "./types.js";

type Flavour = TestServer["flavour"];

/** What the global setup hands to the tests: a server, or a line that says why there is none and how to get one. */
export type ServerOffer = { url: string; flavour: Flavour; version: string } | { missing: string };

declare module "vitest" {
  interface ProvidedContext {
    postgres: ServerOffer;
    mysql: ServerOffer;
  }
}

/** An offer, with what ends the server behind it, if it is ours. */
export interface OfferedServer {
  offer: ServerOffer;
  stop(): Promise<void>;
}

/** The PostgreSQL of CARTEIRO_TEST_PG_URL, or one started for this run. */
export async function offerPostgres(env: NodeJS.ProcessEnv): Promise<OfferedServer> {
  const url = env.CARTEIRO_TEST_PG_URL;
  if (url) {
    const [row] = await queryPostgres<{ server_version: string }>(url, "show server_version");
    return given({ url, flavour: "postgresql", version: row!.server_version });
  }
  if (findPostgres()) return started(await startPostgres());
  return given({ missing: orGiven(postgresMissing, "CARTEIRO_TEST_PG_URL") });
}

/** The MariaDB or MySQL of CARTEIRO_TEST_MYSQL_URL, or one started for this run. */
export async function offerMysql(env: NodeJS.ProcessEnv): Promise<OfferedServer> {
  const url = env.CARTEIRO_TEST_MYSQL_URL;
  if (url) {
    const [row] = await queryMysql<{ version: string }>(url, "select version() as version");
    return given({ url, flavour: row!.version.includes("MariaDB") ? "mariadb" : "mysql", version: row!.version });
  }
  if (findMysql() !== undefined) return started(await startMysql());
  return given({ missing: orGiven(mysqlMissing, "CARTEIRO_TEST_MYSQL_URL") });
}

/**
 * The lines to print for the databases that are missing: their tests are skipped. Throws instead when `CI` is set: a
 * run that skips a database there proves nothing.
 */
export function missingLines(offers: ServerOffer[], env: NodeJS.ProcessEnv): string[] {
  const missing = offers.flatMap((offer) => ("missing" in offer ? [offer.missing] : []));
  if (missing.length > 0 && env.CI) throw new Error(`CI is set, so no database may be missing. ${missing.join(" ")}`);
  return missing.map((line) => `${line} Its tests are skipped.`);
}

function orGiven(missing: string, variable: string): string {
  return missing.replace(/\.$/, ` or set ${variable}.`);
}

function started(server: TestServer): OfferedServer {
  const { url, flavour, version } = server;
  // Its data is thrown away: nothing has to be written down in order.
  return { offer: { url, flavour, version }, stop: () => server.stop("immediate") };
}

function given(offer: ServerOffer): OfferedServer {
  return { offer, stop: async () => {} };
}
