import type { CallState } from "../types.js";
import { isLeased } from "./claim-calls.js";
import type { Binding, Database, Sql } from "./database.js";

/** Which calls are meant; each member narrows them. */
export interface CallFilter {
  ids?: readonly string[];
  stream?: string;
  state?: CallState;
  functionName?: string;
  orderingKey?: Buffer;
  /** Stored longer ago than this. */
  olderThanMs?: number;
  /** Part of the last error's text. */
  error?: string;
}

/** A condition on the calls `c`. */
export function conditionOf(db: Database, filter: CallFilter): Sql {
  const { dialect } = db;
  const parts: [sql: string, ...bindings: Binding[]][] = [["1 = 1"]];
  // MySQL knows no empty list.
  if (filter.ids?.length === 0) parts.push(["1 = 0"]);
  else if (filter.ids !== undefined) parts.push([dialect.among("c.id"), filter.ids]);
  if (filter.stream !== undefined) parts.push(["c.stream = ?", filter.stream]);
  if (filter.functionName !== undefined) parts.push(["c.function_name = ?", filter.functionName]);
  if (filter.orderingKey !== undefined) parts.push(["c.ordering_key = ?", filter.orderingKey]);
  if (filter.state === "dead" || filter.state === "sent") parts.push([storedIn(filter.state)]);
  else if (filter.state === "parked") parts.push([parked(db)]);
  else if (filter.state !== undefined)
    parts.push([`${storedIn(filter.state)} and ${shownState(db)} = ?`, filter.state]);
  if (filter.olderThanMs !== undefined) parts.push([`c.created_at < ${dialect.after("?")}`, -filter.olderThanMs]);
  if (filter.error !== undefined) {
    const { sql, binding } = dialect.contains("c.last_error", filter.error);
    parts.push([sql, binding]);
  }
  return {
    sql: parts.map(([sql]) => sql).join(" and "),
    bindings: parts.flatMap(([, ...bindings]) => bindings),
  };
}

const HELD: ReadonlySet<CallState> = new Set<CallState>(["blocked", "waiting"]);

/** A call that is out of the sight of who serves its stream, and neither restored nor given up yet: it is shown as dead. */
export const HIDDEN = "state = 'dead' and settled_at is null";

/** What an index knows of a state: without it, every call would be read to find the few dead ones. */
function storedIn(state: CallState): string {
  if (state === "sent" || state === "dead") return `c.state = '${state}'`;
  return HELD.has(state) ? "c.state = 'held'" : "c.state = 'pending'";
}

/**
 * The calls of parked keys, from those keys: asked of each call by itself, MariaDB took twice as long, and where no key is
 * parked read all for nothing.
 */
function parked({ tables }: Database): string {
  return `c.state in ('pending', 'held') and c.strategy = 'keep-order'
    and (c.stream, c.ordering_key) in (select k.stream, k.ordering_key from ${tables.keys} k where k.state = 'parked')`;
}

/** A call's state in the words of the glossary. */
export function shownState({ dialect, tables }: Database): string {
  return `case
    when c.state in ('pending', 'held') and c.strategy = 'keep-order' and exists (select 1 from ${tables.keys} k
      where k.stream = c.stream and k.ordering_key = c.ordering_key and k.state = 'parked') then 'parked'
    when c.state = 'held' and c.attempts > 0 then 'blocked'
    when c.state = 'held' then 'waiting'
    when c.state <> 'pending' then c.state
    when ${isLeased(dialect, "c")} then 'running'
    when c.due_at <= ${dialect.now} then 'due'
    else 'pending' end`;
}
