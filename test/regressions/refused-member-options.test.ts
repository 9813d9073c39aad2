import knexFactory from "knex";
import { expect, it } from "vitest";
import { createOutbox, InvalidOptionError, type Outbox } from "../../src/index.js";

const knex = knexFactory({ client: "pg" });

it.each<[string, (outbox: Outbox) => unknown]>([
  ["interval", (outbox) => outbox.startRelayer({ interval: "30d" })],
  ["deadline", (outbox) => outbox.relay({ deadline: "tomorrow" as never })],
  ["deadline", (outbox) => outbox.relay({ deadline: new Date(NaN) })],
  ["after", (outbox) => outbox.calls.list({ after: "x" })],
  ["after", (outbox) => outbox.calls.list({ after: "seq:9999999999999999999" })],
  ["args", (outbox) => outbox.calls.get("0190f5d6-7e1c-7000-8000-3c2f1d9a5b77", { args: "yes" as never })],
  ["id", (outbox) => outbox.keys.skipHead({ stream: "a" }, { id: "1" })],
  ["dryRun", (outbox) => outbox.keys.skipHead({ stream: "a" }, { dryRun: "no" as never })],
  ["reason", (outbox) => outbox.keys.skipHead({ stream: "a" }, { reason: "r".repeat(1001) })],
  ["reason", (outbox) => outbox.streams.pause("a", { reason: "r".repeat(1001) })],
  ["dryRun", (outbox) => outbox.streams.pause("a", { dryRun: true } as never)],
  ["state", (outbox) => outbox.calls.list({ state: "nope" as never })],
  ["event", (outbox) => outbox.on("publised" as never, () => undefined)],
  ["remote", () => createOutbox({ knex, wakeUps: { remote: true } as never })],
])("an option that cannot be used is refused before anything is done: %s, %s", async (option, use) => {
  const outbox = createOutbox({ knex });
  const error: unknown = await Promise.resolve()
    .then(() => use(outbox))
    .catch((thrown: unknown) => thrown);
  await outbox.close();
  expect(error).toBeInstanceOf(InvalidOptionError);
  expect(error).toMatchObject({ option, code: "CARTEIRO_INVALID_OPTION" });
});
