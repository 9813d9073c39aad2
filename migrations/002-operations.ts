import { hasColumn } from "./has-column.js";
import type { Migration } from "./migration.js";

/**
 * What guarding and operating the calls needs: signatures, the count of suspect runs, parked keys, paused streams, and how a
 * stream's holder tells an operator that it has seen a change.
 */
export const operations: Migration = {
  version: 2,
  name: "operations",
  up: {
    postgres: ({ calls, streams, index }) => [
      `alter table ${calls}
        add column if not exists signature text,
        add column if not exists suspect_runs integer not null default 0,
        add column if not exists first_due_at timestamptz`,
      `create index if not exists ${index("calls_dead")} on ${calls} (stream, seq) where state = 'dead'`,
      `alter table ${streams}
        add column if not exists taken_over boolean not null default false,
        add column if not exists epoch bigint not null default 0,
        add column if not exists seen_epoch bigint not null default 0,
        add column if not exists in_flight text,
        add column if not exists holder text,
        add column if not exists paused_at timestamptz,
        add column if not exists paused_reason text`,
    ],
    mysql: ({ calls, keys, streams, schema, prefix }) => [
      {
        unless: hasColumn(schema, `${prefix}calls`, "first_due_at", "database()"),
        sql: `alter table ${calls}
          add column signature varchar(64) character set ascii collate ascii_bin,
          add column suspect_runs int unsigned not null default 0,
          add column first_due_at datetime(6)`,
      },
      `alter table ${keys} modify state enum('waiting', 'blocked', 'unroutable', 'busy', 'parked') not null`,
      {
        unless: hasColumn(schema, `${prefix}streams`, "paused_reason", "database()"),
        sql: `alter table ${streams}
          add column taken_over boolean not null default false,
          add column epoch bigint unsigned not null default 0,
          add column seen_epoch bigint unsigned not null default 0,
          add column in_flight longtext,
          add column holder varchar(300),
          add column paused_at datetime(6),
          add column paused_reason text`,
      },
    ],
  },
  // The tables of migration 1 go as a whole.
  down: { postgres: () => [], mysql: () => [] },
};
