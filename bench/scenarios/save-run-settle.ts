import type { CarteiroSaveOptions } from "../contenders/carteiro-save.js";
import type { Scenario } from "../harness/types.js";
import { SHORT_ROUNDS } from "./support/short-rounds.js";

export const scenario: Scenario = {
  name: "save-run-settle",
  title: "Save, run and settle publish-on-commit calls, 8 writers, against saving alone",
  unit: "tx/s",
  engines: ["postgresql", "mysql"],
  ...SHORT_ROUNDS,
  contenders: [
    {
      name: "saved, run and settled",
      role: "ours",
      file: "carteiro-save",
      options: { strategy: "publish-on-commit", runs: true } satisfies CarteiroSaveOptions,
    },
    {
      name: "saved alone",
      role: "limit",
      file: "carteiro-save",
      options: { strategy: "publish-on-commit", runs: false } satisfies CarteiroSaveOptions,
    },
  ],
  targets: [{ contender: "saved, run and settled", against: "saved alone", atLeast: 0.85 }],
  notes: ["A round ends when all that was saved in it has been run and settled, in the process that saved it."],
};
