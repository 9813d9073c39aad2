/** One call as the limit reads it; `seq` in the driver's own type. */
export interface LimitRow {
  seq: number | string;
  payload: string;
}

/** What the driver alone does, on two connections: one reads or claims the next batch while the other deletes the last one. */
export interface Limit {
  /** The first batch of a round, where `after` is undefined; an empty one at the end. */
  next(after: LimitRow | undefined): Promise<LimitRow[]>;
  remove(rows: LimitRow[]): Promise<number>;
  close(): Promise<unknown>;
}

export const BATCH = 500;
