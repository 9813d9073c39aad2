import type { Outbox } from "../outbox.js";
import { loadOutbox } from "./config.js";

/** Options of every command. */
export interface CommonOptions {
  config?: string;
  verbose?: boolean;
}

/** Does `work` with the configuration's outbox and closes it, whatever came of it. */
export async function withOutbox<T>(options: CommonOptions, work: (outbox: Outbox) => Promise<T>): Promise<T> {
  const outbox = await loadOutbox(options.config);
  let result: T;
  try {
    result = await work(outbox);
  } catch (error) {
    // What failed first is what tells the reason.
    await outbox.close().catch(() => undefined);
    throw error;
  }
  await outbox.close();
  return result;
}
