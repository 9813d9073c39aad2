import type { TestProject } from "vitest/node";
import { missingLines, offerMysql, offerPostgres } from "./support/servers/offer.js";

/** Starts one PostgreSQL and one MariaDB for the whole run; every test file makes a database of its own in them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const attempts = await Promise.allSettled([offerPostgres(process.env), offerMysql(process.env)]);
  const stop = async (): Promise<void> => {
    for (const attempt of attempts) if (attempt.status === "fulfilled") await attempt.value.stop();
  };
  try {
    const [postgres, mysql] = attempts.map((attempt) => {
      if (attempt.status === "rejected") throw attempt.reason;
      return attempt.value.offer;
    });
    for (const line of missingLines([postgres!, mysql!], process.env)) console.warn(line);
    project.provide("postgres", postgres!);
    project.provide("mysql", mysql!);
    return stop;
  } catch (error) {
    await stop();
    throw error;
  }
}
