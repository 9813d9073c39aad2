import type { ByHandSaveOptions } from "../contenders/by-hand-save.js";
import type { CarteiroSaveOptions } from "../contenders/carteiro-save.js";
import type { Scenario } from "../harness/types.js";
import { SHORT_ROUNDS } from "./support/short-rounds.js";

export const scenario: Scenario = {
  name: "save",
  title: "Save: a transaction that updates one row and saves one call, 8 writers",
  unit: "tx/s",
  engines: ["postgresql", "mysql"],
  ...SHORT_ROUNDS,
  contenders: [
    {
      name: "carteiro, publish-on-commit",
      role: "ours",
      file: "carteiro-save",
      options: { strategy: "publish-on-commit", runs: false } satisfies CarteiroSaveOptions,
    },
    {
      name: "carteiro, keep-order",
      role: "ours",
      file: "carteiro-save",
      options: { strategy: "keep-order", runs: false } satisfies CarteiroSaveOptions,
    },
    {
      name: "carteiro, keep-order, no lock",
      role: "ours",
      file: "carteiro-save",
      options: { strategy: "keep-order", runs: false, writersLock: false } satisfies CarteiroSaveOptions,
    },
    { name: "graphile-worker, add_job", role: "peer", file: "graphile-worker-save", engines: ["postgresql"] },
    {
      name: "hand-written insert",
      role: "limit",
      file: "by-hand-save",
      options: { strategy: "keep-order" } satisfies ByHandSaveOptions,
    },
    { name: "the update alone", role: "limit", file: "by-hand-save", options: {} satisfies ByHandSaveOptions },
  ],
  targets: [
    { contender: "carteiro, publish-on-commit", against: "hand-written insert", atLeast: 0.95 },
    { contender: "carteiro, publish-on-commit", against: "graphile-worker, add_job", atLeast: 1 },
    { contender: "carteiro, keep-order", against: "hand-written insert", atLeast: 0.95 },
    { contender: "carteiro, keep-order", against: "graphile-worker, add_job", atLeast: 1 },
    { contender: "carteiro, keep-order, no lock", against: "hand-written insert" },
  ],
  notes: [
    "Nothing runs the calls: the publish-on-commit ones are due tomorrow, and nobody relays the others, of 10,000 ordering keys. No lock: `writersLock: false`.",
  ],
  quick: {
    contenders: ["carteiro, publish-on-commit", "carteiro, keep-order", "hand-written insert"],
    roundMs: 800,
  },
};
