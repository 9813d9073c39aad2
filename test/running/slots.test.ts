import { expect, it } from "vitest";
import { Slots } from "../../src/run/slots.js";

/** Enough turns of the microtask queue for everything that is about to happen. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

it("takes what is free of what is wanted, and at least one", async () => {
  const slots = new Slots(5);
  expect(await slots.take(3)).toBe(3);
  expect(await slots.take(9)).toBe(2);
  expect(slots.takeFree(1)).toBe(0);
  slots.give(2);
  expect(slots.takeFree(9)).toBe(2);
});

it("serves those that wait in turn, each one slot, and lets nobody overtake them", async () => {
  const slots = new Slots(1);
  await slots.take();
  const served: string[] = [];
  const wait = async (name: string, most: number) => void served.push(`${name} ${await slots.take(most)}`);
  const waiting = [wait("first", 5), wait("second", 5)];
  slots.give();
  expect(slots.takeFree(1)).toBe(0);
  const third = wait("third", 1);
  await turn();
  expect(served).toEqual(["first 1"]);
  slots.give();
  await turn();
  expect(served).toEqual(["first 1", "second 1"]);
  slots.give(4);
  await Promise.all([...waiting, third]);
  expect(served).toEqual(["first 1", "second 1", "third 1"]);
  expect(slots.takeFree(9)).toBe(3);
});

it("gives one that waited the slots that became free with its own", async () => {
  const slots = new Slots(4);
  await slots.take(4);
  const waiting = slots.take(3);
  slots.give(4);
  expect(await waiting).toBe(3);
  expect(slots.takeFree(9)).toBe(1);
});

it("takes all once nothing runs, and lets nothing else start meanwhile", async () => {
  const slots = new Slots(3);
  await slots.take(2);
  const all = slots.takeAll(60_000);
  expect(slots.takeFree(1)).toBe(0);
  const behind = slots.take(3);
  slots.give(2);
  expect(await all).toBe(3);
  slots.give(3);
  expect(await behind).toBe(3);
});

it("does not wait longer for all than it was told, and lets those behind it go on", async () => {
  const slots = new Slots(3);
  await slots.take();
  const [all, behind] = [slots.takeAll(1), slots.take(2)];
  expect(await all).toBe(0);
  expect(await behind).toBe(2);
  slots.give(3);
  expect(await slots.takeAll(1)).toBe(3);
});
