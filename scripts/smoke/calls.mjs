import assert from "node:assert/strict";

/** Saves a call on a PGlite and sees it run, with whichever copy of the package it is given. */
export async function smoke({ PGlite, createOutbox, createPGliteKnex }) {
  const pglite = await PGlite.create();
  const knex = createPGliteKnex(pglite);
  const outbox = createOutbox({ knex });
  await outbox.migrate();

  const received = [];
  const sendGreeting = outbox.saveToOutbox(async function sendGreeting(name, at) {
    received.push({ name, at });
  });
  const at = new Date("2026-01-02T03:04:05.678Z");
  await outbox.transaction(async () => {
    await sendGreeting("Ana", at);
    assert.deepEqual(received, [], "the call ran before its transaction committed");
  });
  await assert.rejects(
    outbox.transaction(async () => {
      await sendGreeting("Bob", at);
      throw new Error("rolled back");
    }),
    /rolled back/,
  );
  await outbox.idle();
  await outbox.relay();
  assert.deepEqual(received, [{ name: "Ana", at }]);

  await outbox.close();
  await knex.destroy();
  await pglite.close();
}
