import { cleaner } from "./chapters/cleaner.js";
import { keepOrder } from "./chapters/keep-order.js";
import { numbers } from "./chapters/numbers.js";
import { retry } from "./chapters/retry.js";
import { rollback } from "./chapters/rollback.js";
import { storedCall } from "./chapters/stored-call.js";
import { Metrics } from "./metrics.js";
import { openShop } from "./shop.js";
import { FalseClaimError, paint, Story } from "./story.js";

const LONGEST_MS = 120_000;
const chapters = [storedCall, rollback, retry, keepOrder, cleaner, numbers];

const story = new Story();
const tooLong = setTimeout(() => {
  fail(new Error(`The demo did not end within ${LONGEST_MS / 1000} s: something that it waits for did not happen.`));
}, LONGEST_MS);

try {
  await tell();
} catch (error) {
  fail(error);
}
clearTimeout(tooLong);

async function tell(): Promise<void> {
  const startedAt = performance.now();
  story.title("Carteiro");
  story.say(
    `A coffee shop keeps its orders in PostgreSQL. A mail service sends its receipts, and a broker tells its
     warehouse. Both are on the other side of a network, and both fail now and then.`,
  );
  story.say(
    `With Carteiro, the shop calls a function inside a database transaction, and the call is stored in that
     transaction. It is run once the transaction has committed, and again until it succeeds.`,
  );

  story.meanwhile("PostgreSQL starts…");
  const shop = await openShop();
  story.say(`PostgreSQL ${await shop.serverVersion()} is up: a PGlite, inside this process and in memory.`, paint.dim);

  const metrics = new Metrics(shop.outbox);
  for (const chapter of chapters) {
    story.chapter(chapter.title);
    await chapter.tell({ story, shop, metrics });
  }
  await shop.close();

  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  story.say(`All ${story.claims} claims with a ✓ were checked before they were printed.`, paint.green);
  story.say(`That took ${seconds} s. The code of this demo is in examples/demo.\n`, paint.dim);
  process.stdout.write("\n");
}

function fail(error: unknown): never {
  const what = error instanceof FalseClaimError ? error.message : error instanceof Error ? error.stack : String(error);
  process.stdout.write("\n");
  process.stderr.write(`  ${paint.red(`✗ The demo failed ${story.where}.`)}\n\n${what}\n\n`);
  process.exit(1);
}
