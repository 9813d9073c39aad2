/** One column of a select list. */
export interface Column {
  name: string;
  expression: string;
  isNullable?: boolean;
}

/** What stands between two values, and in front of one that could have been null. */
const [BETWEEN, PRESENT] = ["\x1f", "\x1e"];

export function selectList(columns: readonly Column[]): string {
  return columns.map(({ name, expression }) => `${expression} as ${name}`).join(", ");
}

/**
 * The select list that makes one row of all rows of a subquery with these columns: each column in one text. A driver takes more
 * time for a row than the database does to read it (seen with pg, of 11 columns: 2.3 µs a row, like this 0.7).
 */
export function joinedList(columns: readonly Column[]): string {
  const joined = ({ name, isNullable }: Column) =>
    isNullable
      ? `case when count(${name}) > 0 then string_agg(coalesce(chr(30) || ${name}, ''), chr(31)) end as ${name}`
      : `string_agg(${name}::text, chr(31)) as ${name}`;
  return ["count(*) as row_count", ...columns.map(joined)].join(", ");
}

export type JoinedRow = Readonly<Record<string, string | null>>;

/**
 * What was joined, value by value.
 *
 * @param make is given the same row each time, with other values
 * @returns undefined where a value has what stands between two
 */
export function splitRows<Row extends object, Made>(
  joined: JoinedRow,
  columns: readonly Column[],
  make: (row: Row) => Made,
): Made[] | undefined {
  const count = Number(joined["row_count"]);
  if (count === 0) return [];
  const row: Record<string, string | null> = Object.fromEntries(columns.map(({ name }) => [name, null]));
  const filled = columns.flatMap(({ name, isNullable = false }) => {
    const text = joined[name] ?? null;
    return text === null ? [] : [{ name, isNullable, values: text.split(BETWEEN) }];
  });
  if (filled.some(({ values }) => values.length !== count)) return undefined;
  const made: Made[] = [];
  for (let place = 0; place < count; place++) {
    for (const { name, isNullable, values } of filled) {
      const value = values[place] as string;
      row[name] = !isNullable ? value : value === "" ? null : value.slice(PRESENT.length);
    }
    made.push(make(row as Row));
  }
  return made;
}

/** A text of its own: one that was split off keeps all that it was split from in memory. */
export function ownText(text: string): string {
  return Buffer.from(text).toString();
}
