const CELLS = 24;

/** How far a work of known length has come: `[######------------------] 25%  250 of 1000`. */
export function bar(done: number, total: number): string {
  const share = total === 0 ? 1 : Math.min(done / total, 1);
  const full = Math.floor(share * CELLS);
  return `[${"#".repeat(full)}${"-".repeat(CELLS - full)}] ${Math.floor(share * 100)}%  ${done} of ${total}`;
}
