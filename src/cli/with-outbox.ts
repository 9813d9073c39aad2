import type { Outbox } from "../outbox.js";
import { type Hand, loadOutbox } from "./config.js";

/** Options of every command. */
export interface CommonOptions {
  config?: string;
  verbose?: boolean;
}

/** Does `work`, which needs these `hands`, with the configuration's outbox and closes it, whatever came of it. */
export async function withOutbox<T>(
  options: CommonOptions,
  work: (outbox: Outbox) => Promise<T>,
  hands: readonly Hand[] = [],
): Promise<T> {
  const outbox = await loadOutbox(options.config, hands);
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
