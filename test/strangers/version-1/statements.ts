/**
 * What version 1 of the tables was read and written by, statement for statement, as the library of that time sent them. Frozen:
 * processes that still run that library must find every table that a later one has migrated as good as their own.
 */
export interface Statements {
  /** Bound to the slots. */
  lockWriters: string;
  insert: string;
  /** Of a stream, at most so many. In one statement, or (a read, an update, a read) in three. */
  claim: { inOne: string } | { read: string; update: string; claimed: string };
  /** `?` are the row's number and the token. */
  deleteClaimed: string;
  failClaimed: string;
  dueStreams: string;
  acquire: string;
  addStream: string;
  acquired: string;
  release: string;
  lockLease: string;
  line: string;
  dueKeys: string;
  held: string;
  remove: string;
  holdCall: string;
  holdKey: string;
  setAside: string;
  setAsideKeys: string;
  releaseKey: string;
}

const INSERTED =
  "id, function_name, stream, strategy, ordering_key, codec, version, payload, headers, state, attempts, fence, last_error, created_at, due_at";
const READ = [
  "seq, id, function_name, stream, strategy, ordering_key, codec, version, headers, attempts, fence, payload".replace(
    /\w+/g,
    "c.$&",
  ),
].join();

/** @param prefix what the tables' names begin with: an identifier */
export function postgresStatements(prefix: string): Statements {
  const [calls, keys, streams] = ["calls", "keys", "streams"].map((table) => `"${prefix}${table}"`) as [
    string,
    string,
    string,
  ];
  return {
    lockWriters: `select pg_advisory_xact_lock('${calls}'::regclass::oid::int, slot) from unnest(?::int[]) as slot`,
    insert: `insert into ${calls} (${INSERTED}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, clock_timestamp(), clock_timestamp())`,
    claim: {
      inOne: `with picked as materialized (select seq from ${calls}
          where state = 'pending' and strategy = 'publish-on-commit' and due_at <= now() and stream = ?
          order by due_at, seq limit ? for update skip locked)
        update ${calls} c set lease_token = ?, due_at = now() + ? * interval '1 millisecond', fence = c.fence + 1
        from picked where c.seq = picked.seq returning ${READ}`,
    },
    deleteClaimed: `delete from ${calls} c where c.seq = ? and c.lease_token = ? and c.state = 'pending'`,
    failClaimed: `update ${calls} c set state = 'pending', attempts = c.attempts + 1, last_error = ?, lease_token = null,
        due_at = now() + ? * interval '1 millisecond', settled_at = null
      where c.seq = ? and c.lease_token = ? and c.state = 'pending'`,
    dueStreams: `select distinct d.stream, d.strategy from (
        select stream, strategy from ${calls} where state = 'pending' and (strategy = 'keep-order' or due_at <= now())
        union all
        select stream, 'keep-order' as strategy from ${keys} where due_at <= now()
      ) d
      where d.strategy = 'publish-on-commit'
        or not exists (select 1 from ${streams} s where s.stream = d.stream and s.lease_until > now())`,
    acquire: `update ${streams} set lease_token = ?, lease_until = now() + ? * interval '1 millisecond', fence = fence + 1
      where stream = ? and (lease_until is null or lease_until <= now())`,
    addStream: `insert into ${streams} (stream) values (?) on conflict do nothing`,
    acquired: `select fence from ${streams} where stream = ? and lease_token = ?`,
    release: `update ${streams} set lease_token = null, lease_until = null where stream = ? and lease_token = ?`,
    lockLease: `select 1 from ${streams} where stream = ? and lease_token = ? for share`,
    line: `select ${READ}, c.due_at <= now() as is_due, k.stream is not null as is_aside from ${calls} c
      left join ${keys} k on k.stream = c.stream and k.ordering_key = c.ordering_key
      where c.state = 'pending' and c.strategy = 'keep-order' and c.stream = ? order by c.seq limit ?`,
    dueKeys: `select ${READ}, c.due_at <= now() as is_due, k.ordering_key as held_key
      from (select stream, ordering_key, due_at from ${keys} where stream = ? and due_at <= now() order by due_at limit ?) k
      left join ${calls} c on c.seq = (
        select min(h.seq) from ${calls} h where h.stream = k.stream and h.ordering_key = k.ordering_key and h.state = 'held')
      order by k.due_at`,
    held: `select ${READ}, c.due_at <= now() as is_due from ${calls} c
      where c.stream = ? and c.ordering_key = ? and c.state = 'held' and c.seq > ? order by c.seq limit ?`,
    remove: `delete from ${calls} c where c.seq = ?`,
    holdCall: `update ${calls} set state = 'held', attempts = attempts + 1, due_at = now() + ? * interval '1 millisecond', last_error = ? where seq = ?`,
    holdKey: `insert into ${keys} (stream, ordering_key, state, due_at, since)
      select stream, ordering_key, ?, due_at, now() from ${calls} where seq = ?
      on conflict (stream, ordering_key) do update set state = excluded.state, due_at = excluded.due_at`,
    setAside: `update ${calls} set state = 'held' where seq = ? and state = 'pending'`,
    setAsideKeys: `insert into ${keys} (stream, ordering_key, state, due_at, since)
      select distinct stream, ordering_key, 'busy', now(), now() from ${calls} where seq = ? and state = 'held'
      on conflict do nothing`,
    releaseKey: `delete from ${keys} where stream = ? and ordering_key = ? and not exists (
      select 1 from ${calls} c where c.stream = ? and c.ordering_key = ? and c.state = 'held')`,
  };
}

/** @param prefix what the tables' names begin with: an identifier */
export function mysqlStatements(prefix: string): Statements {
  const [calls, keys, streams, writers] = ["calls", "keys", "streams", "writers"].map(
    (table) => `\`${prefix}${table}\``,
  ) as [string, string, string, string];
  const now = "utc_timestamp(6)";
  const later = `timestampadd(microsecond, ? * 1000, ${now})`;
  const claimable = `state = 'pending' and strategy = 'publish-on-commit' and due_at <= ${now}`;
  return {
    lockWriters: `select slot from ${writers} force index (primary) where slot in (?) order by slot for update`,
    insert: `insert into ${calls} (${INSERTED}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ${now}, ${now})`,
    claim: {
      read: `select seq from ${calls} force index (calls_due) where ${claimable} and stream = ? order by due_at, seq limit ?`,
      update: `update ${calls} force index (primary) set lease_token = ?, due_at = ${later}, fence = fence + 1
        where seq in (?) and ${claimable}`,
      claimed: `select ${READ} from ${calls} c where c.seq in (?) and c.lease_token = ?`,
    },
    deleteClaimed: `delete c from ${calls} c where c.seq = ? and c.lease_token = ? and c.state = 'pending'`,
    failClaimed: `update ${calls} c set c.state = 'pending', c.attempts = c.attempts + 1, c.last_error = ?, c.lease_token = null,
        c.due_at = ${later}, c.settled_at = null
      where c.seq = ? and c.lease_token = ? and c.state = 'pending'`,
    dueStreams: `select distinct d.stream, d.strategy from (
        select stream, cast(strategy as char) as strategy from ${calls}
        where state = 'pending' and (strategy = 'keep-order' or due_at <= ${now})
        union all
        select stream, 'keep-order' as strategy from ${keys} where due_at <= ${now}
      ) d
      where d.strategy = 'publish-on-commit'
        or not exists (select 1 from ${streams} s where s.stream = d.stream and s.lease_until > ${now})`,
    acquire: `update ${streams} force index (primary) set lease_token = ?, lease_until = ${later}, fence = fence + 1
      where stream = ? and (lease_until is null or lease_until <= ${now})`,
    addStream: `insert ignore into ${streams} (stream) values (?)`,
    acquired: `select fence from ${streams} where stream = ? and lease_token = ?`,
    release: `update ${streams} force index (primary) set lease_token = null, lease_until = null where stream = ? and lease_token = ?`,
    lockLease: `select 1 from ${streams} force index (primary) where stream = ? and lease_token = ? lock in share mode`,
    line: `select ${READ}, c.due_at <= ${now} as is_due, k.stream is not null as is_aside
      from ${calls} c force index (calls_line)
      left join ${keys} k on k.stream = c.stream and k.ordering_key = c.ordering_key
      where c.state = 'pending' and c.strategy = 'keep-order' and c.stream = ? order by c.seq limit ?`,
    dueKeys: `select ${READ}, c.due_at <= ${now} as is_due, k.ordering_key as held_key
      from (select stream, ordering_key, due_at from ${keys} where stream = ? and due_at <= ${now} order by due_at limit ?) k
      left join ${calls} c on c.seq = (
        select min(h.seq) from ${calls} h where h.stream = k.stream and h.ordering_key = k.ordering_key and h.state = 'held')
      order by k.due_at`,
    held: `select ${READ}, c.due_at <= ${now} as is_due from ${calls} c force index (calls_held)
      where c.stream = ? and c.ordering_key = ? and c.state = 'held' and c.seq > ? order by c.seq limit ?`,
    remove: `delete c from json_table(json_array(?), '$[*]' columns (seq bigint unsigned path '$')) u
      straight_join ${calls} c force index (primary) on c.seq = u.seq`,
    holdCall: `update ${calls} force index (primary) set state = 'held', attempts = attempts + 1, due_at = ${later}, last_error = ? where seq = ?`,
    holdKey: `insert into ${keys} (stream, ordering_key, state, due_at, since)
      select stream, ordering_key, ?, due_at, ${now} from ${calls} where seq = ?
      on duplicate key update state = values(state), due_at = values(due_at)`,
    setAside: `update ${calls} force index (primary) set state = 'held' where seq = ? and state = 'pending'`,
    setAsideKeys: `insert ignore into ${keys} (stream, ordering_key, state, due_at, since)
      select distinct stream, ordering_key, 'busy', ${now}, ${now} from ${calls} where seq = ? and state = 'held'`,
    releaseKey: `delete from ${keys} where stream = ? and ordering_key = ? and not exists (
      select 1 from ${calls} c where c.stream = ? and c.ordering_key = ? and c.state = 'held')`,
  };
}
