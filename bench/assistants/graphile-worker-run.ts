/** A process that runs the jobs of another, by graphile-worker's own settings: `graphile-worker-run <url>`. */
import { assist } from "../harness/assistant.js";
import { loadGraphileWorker, quiet } from "../contenders/support/graphile-worker.js";
import { sharedNowMs } from "../contenders/support/latency.js";

const { run } = await loadGraphileWorker();
let onEntered = (_report: { enteredAtMs: number }) => {};
const runner = await run({
  connectionString: process.argv[2],
  taskList: { publish: async () => onEntered({ enteredAtMs: sharedNowMs() }) },
  noHandleSignals: true,
  logger: await quiet(),
});
onEntered = assist<object, { enteredAtMs: number }>(
  () => undefined,
  () => runner.stop(),
);
