import type { Colors } from "./screen.js";
import { widthOf } from "./text.js";

export interface Column<Row> {
  title: string;
  value: (row: Row) => string | number;
  /** Colours a cell, by its row. */
  paint?: (cell: string, row: Row) => string;
}

const GAP = "  ";

/** Rows below their titles, numbers to the right, each column as wide as its widest cell. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], colors: Colors): string {
  const values = rows.map((row) => columns.map((column) => column.value(row)));
  const cells = values.map((line) => line.map(String));
  const widths = columns.map(({ title }, x) => Math.max(widthOf(title), ...cells.map((line) => widthOf(line[x]!))));
  const isNumeric = columns.map((_, x) => values.every((line) => typeof line[x] === "number"));
  const pad = (cell: string, x: number) => {
    const space = " ".repeat(widths[x]! - widthOf(cell));
    if (isNumeric[x]) return space + cell;
    return x === columns.length - 1 ? cell : cell + space;
  };
  const head = columns.map(({ title }, x) => colors.bold(pad(title, x)));
  const body = rows.map((row, y) =>
    columns.map(({ paint = (cell) => cell }, x) => paint(pad(cells[y]![x]!, x), row)).join(GAP),
  );
  return [head.join(GAP), ...body].join("\n");
}
