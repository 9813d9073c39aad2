import { expect, it } from "vitest";
import { Group } from "../../src/run/group.js";
import { deferred } from "../support/waiting.js";

it("sends what collected while a flush was on its way as one, in order, each item with its own result", async () => {
  const flushes: number[][] = [];
  const ends = [deferred(), deferred(), deferred()];
  const group = new Group<number, string>(async (items) => {
    flushes.push(items);
    await ends[flushes.length - 1]!.promise;
    return items.map((item) => `done ${item}`);
  });
  const first = [group.add(1), group.add(2)];
  await Promise.resolve();
  expect(flushes).toEqual([[1, 2]]);
  const second = [group.add(3), group.add(4), group.add(5)];
  await new Promise((resolve) => setImmediate(resolve));
  expect(flushes).toEqual([[1, 2]]);
  ends[0]!.resolve();
  expect(await Promise.all(first)).toEqual(["done 1", "done 2"]);
  expect(flushes).toEqual([
    [1, 2],
    [3, 4, 5],
  ]);
  ends[1]!.resolve();
  expect(await Promise.all(second)).toEqual(["done 3", "done 4", "done 5"]);
  const third = group.add(6);
  ends[2]!.resolve();
  expect(await third).toBe("done 6");
});

it("sends no more at once than its most", async () => {
  const sizes: number[] = [];
  const group = new Group<number, number>(async (items) => {
    sizes.push(items.length);
    return items;
  }, 3);
  expect(await Promise.all([1, 2, 3, 4, 5, 6, 7].map((item) => group.add(item)))).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(sizes).toEqual([3, 3, 1]);
});

it("rejects every item of a flush that failed, and none of the next", async () => {
  let fails = true;
  const group = new Group<number, number>(async (items) => {
    if (fails) throw new Error("down");
    return items;
  });
  const results = await Promise.allSettled([group.add(1), group.add(2)]);
  expect(results.map((result) => result.status)).toEqual(["rejected", "rejected"]);
  fails = false;
  expect(await group.add(3)).toBe(3);
});
