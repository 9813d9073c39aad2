/**
 * A query for the last column that an ALTER brings, which has all of its effect or none: neither database can be asked for
 * `add column if not exists` or its like everywhere.
 *
 * @param here the schema where none is named
 */
export function hasColumn(schema: string | undefined, table: string, name: string, here: string): string {
  const inSchema = schema === undefined ? here : `'${schema}'`;
  return `select 1 from information_schema.columns
    where table_schema = ${inSchema} and table_name = '${table}' and column_name = '${name}'`;
}
