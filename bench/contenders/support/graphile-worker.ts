import { loadPeer } from "../../harness/peers.js";

/** What the bench needs of graphile-worker. */
export interface GraphileWorker {
  run(options: Record<string, unknown>): Promise<{ stop(): Promise<void> }>;
  makeWorkerUtils(options: Record<string, unknown>): Promise<{ migrate(): Promise<void>; release(): Promise<void> }>;
  Logger: new (factory: () => () => void) => unknown;
}

export async function loadGraphileWorker(): Promise<GraphileWorker> {
  return (await loadPeer("graphile-worker")) as GraphileWorker;
}

/** A logger that says nothing: a line per job would cost more than the job. */
export async function quiet(): Promise<unknown> {
  const { Logger } = await loadGraphileWorker();
  return new Logger(() => () => {});
}

export async function migrateGraphileWorker(connectionString: string): Promise<void> {
  const { makeWorkerUtils } = await loadGraphileWorker();
  const utils = await makeWorkerUtils({ connectionString, logger: await quiet() });
  await utils.migrate();
  await utils.release();
}
