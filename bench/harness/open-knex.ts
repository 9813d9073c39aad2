import knex, { type Knex } from "knex";
import type { Engine } from "./types.js";

/** @param connections all of them, open from the first use on */
export function openKnex(engine: Engine, url: string, connections: number): Knex {
  return knex({
    client: engine === "postgresql" ? "pg" : "mysql2",
    connection: url,
    pool: { min: connections, max: connections },
  });
}
