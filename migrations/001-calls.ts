import type { Migration } from "./migration.js";

/** The tables of the first release: calls, the ordering keys that stand aside, the streams' leases, the writers' locks. */
export const calls: Migration = {
  version: 1,
  name: "calls",
  up: {
    postgres: ({ calls, keys, streams, index }) => [
      `create table if not exists ${calls} (
        seq bigint generated always as identity primary key,
        id uuid not null unique,
        function_name text collate "C" not null,
        stream text collate "C" not null,
        strategy text collate "C" not null,
        ordering_key bytea not null,
        state text collate "C" not null default 'pending',
        due_at timestamptz not null,
        attempts integer not null default 0,
        fence bigint not null default 0,
        lease_token uuid,
        codec text not null,
        version integer not null,
        headers text not null,
        payload text not null,
        last_error text,
        created_at timestamptz not null,
        settled_at timestamptz
      )`,
      `create index if not exists ${index("calls_due")} on ${calls} (stream, due_at, seq)
        where state = 'pending' and strategy = 'publish-on-commit'`,
      `create index if not exists ${index("calls_line")} on ${calls} (stream, seq)
        where state = 'pending' and strategy = 'keep-order'`,
      `create index if not exists ${index("calls_held")} on ${calls} (stream, ordering_key, seq) where state = 'held'`,
      `create index if not exists ${index("calls_sent")} on ${calls} (settled_at) where state = 'sent'`,
      `create table if not exists ${keys} (
        stream text collate "C" not null,
        ordering_key bytea not null,
        state text collate "C" not null,
        due_at timestamptz not null,
        since timestamptz not null,
        primary key (stream, ordering_key)
      )`,
      `create index if not exists ${index("keys_due")} on ${keys} (stream, due_at)`,
      `create table if not exists ${streams} (
        stream text collate "C" primary key,
        lease_token uuid,
        lease_until timestamptz,
        fence bigint not null default 0
      )`,
    ],
    mysql: ({ calls, keys, streams, writers, writerSlots }) => [
      `create table if not exists ${calls} (
        seq bigint unsigned not null auto_increment primary key,
        id char(36) character set ascii collate ascii_bin not null,
        function_name ${NAME} not null,
        stream ${NAME} not null,
        strategy ${STRATEGY} not null,
        ordering_key varbinary(255) not null,
        state enum('pending', 'held', 'sent', 'dead') not null default 'pending',
        due_at datetime(6) not null,
        attempts int unsigned not null default 0,
        fence bigint unsigned not null default 0,
        lease_token char(36) character set ascii collate ascii_bin,
        codec ${NAME} not null,
        version int unsigned not null,
        headers mediumtext not null,
        payload longtext not null,
        last_error text,
        created_at datetime(6) not null,
        settled_at datetime(6),
        unique key calls_id (id),
        key calls_due (state, strategy, stream, due_at, seq),
        key calls_line (state, strategy, stream, seq),
        key calls_held (state, stream, ordering_key, seq),
        key calls_sent (state, settled_at)
      ) ${TABLE}`,
      `create table if not exists ${keys} (
        stream ${NAME} not null,
        ordering_key varbinary(255) not null,
        state enum('waiting', 'blocked', 'unroutable', 'busy') not null,
        due_at datetime(6) not null,
        since datetime(6) not null,
        primary key (stream, ordering_key),
        key keys_due (stream, due_at)
      ) ${TABLE}`,
      `create table if not exists ${streams} (
        stream ${NAME} not null primary key,
        lease_token char(36) character set ascii collate ascii_bin,
        lease_until datetime(6),
        fence bigint unsigned not null default 0
      ) ${TABLE}`,
      `create table if not exists ${writers} (slot smallint unsigned not null primary key) ${TABLE}`,
      `insert ignore into ${writers} (slot) values ${Array.from({ length: writerSlots }, (_, slot) => `(${slot})`).join(", ")}`,
    ],
  },
  down: {
    postgres: ({ calls, keys, streams }) => [`drop table if exists ${calls}, ${keys}, ${streams}`],
    mysql: ({ calls, keys, streams, writers }) => [`drop table if exists ${calls}, ${keys}, ${streams}, ${writers}`],
  },
};

const NAME = "varchar(200) character set utf8mb4 collate utf8mb4_bin";
const STRATEGY = "enum('publish-on-commit', 'keep-order')";
const TABLE = "engine = InnoDB character set utf8mb4 collate utf8mb4_bin";
