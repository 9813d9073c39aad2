import { inspect } from "node:util";
import knexFactory from "knex";
import { beforeEach, describe, expect, it } from "vitest";
import {
  createOutbox,
  DuplicateFunctionError,
  type FunctionOptions,
  InvalidOptionError,
  type Outbox,
  type OutboxOptions,
  UnnamedFunctionError,
} from "../../src/index.js";
import { caught, oddities } from "./oddities.js";

describe("options", () => {
  const knex = knexFactory({ client: "pg" });
  const codec = { name: "json", encode: JSON.stringify, decode: JSON.parse };
  let outbox: Outbox;
  beforeEach(() => {
    outbox = createOutbox({ knex });
  });
  const publish = async () => {};

  const durations = [
    ...oddities.filter((odd) => odd !== ""),
    "",
    "1 fortnight",
    "1e999",
    Infinity,
    -0.5,
    [1],
    new Date(),
  ];
  const flags = [...oddities, 1, "true"];
  const wholes = [...oddities, 1.5, "3", Infinity, 2 ** 53];
  const names = [...oddities.filter((odd) => odd !== "odd"), " odd", "odd\t", "o\0dd", "\ud800", "o".repeat(201), 5];
  const codecs = [...oddities, { ...codec, encode: "odd" }, { name: "json", encode: codec.encode }];
  const within = (option: string, values: readonly unknown[]) => values.map((value) => ({ [option]: value }));
  const retries: [string, unknown[]][] = [
    ["retry", [0n, Symbol("odd"), "odd", 5, true]],
    ["retry.initialDelay", within("initialDelay", durations)],
    ["retry.maxDelay", within("maxDelay", durations)],
    ["retry.giveUpAfter", within("giveUpAfter", durations)],
    ["retry.factor", within("factor", [...oddities, 0.5, "2", Infinity])],
    ["retry.jitter", within("jitter", [...oddities, 1.1, "0.2", Infinity])],
    ["retry.maxAttempts", within("maxAttempts", [...oddities, 1.5, 0, "5"])],
    ["retry.delay", [{ delay: 5 }]],
  ];

  /** The values that were not refused by an error that names the option. */
  const notRefused = (option: string, values: readonly unknown[], use: (options: object) => unknown) => {
    const [top] = option.split(".") as [string];
    return values
      .map((value) => ({ value, error: caught(() => use({ [top]: value })) }))
      .filter(({ error }) => !(error instanceof InvalidOptionError && namesOption(error, option)))
      .map(({ value, error }) => `${inspect(value)}: ${inspect(error)}`);
  };

  it.each<[string, unknown[]]>([
    ["knex", [undefined, null, ...oddities, knexFactory({ client: "better-sqlite3", useNullAsDefault: true })]],
    ["schema", [...oddities.filter((odd) => odd !== "odd"), "1st", 'a"b', "a".repeat(49)]],
    ["tablePrefix", [...oddities.filter((odd) => odd !== "odd"), "1st", "a-b"]],
    ["strategy", oddities],
    ["persist", oddities],
    ["deleteAfterSend", flags],
    ["requireTransaction", flags],
    ["writersLock", flags],
    ["retention", durations],
    ["timeout", [...durations, 0, "25 days"]],
    ["abandonAfter", [...durations, 0, "25 days"]],
    ["lease", [...durations, 99, "25 days"]],
    ["statementTimeout", [...durations, 99, "25 days"]],
    ["pollInterval", [...durations, 0, "25 days"]],
    ["concurrency", [...wholes, 0]],
    ["ownConnections", [...wholes, 1]],
    ["maxPayloadBytes", [...wholes, 0]],
    ["codec", codecs],
    [
      "codec.name",
      [
        { ...codec, name: "" },
        { ...codec, name: 5 },
      ],
    ],
    ["logger", [{}, "odd", 5, { info() {}, warn() {}, error() {} }]],
    ["wakeUps", ["odd", 5, []]],
    ["wakeUps.local", within("local", flags)],
    ["wakeUps.notify", within("notify", flags)],
    ["prepareStatements", flags],
    ...retries,
    ["requiresTransaction", [true]],
  ])("of createOutbox: %s", (option, values) => {
    expect(notRefused(option, values, (options) => createOutbox({ knex, ...options }))).toEqual([]);
  });

  it.each<[string, unknown[]]>([
    ["name", names],
    ["aliases", [...oddities.filter((odd) => !Array.isArray(odd)), ...names.map((name) => [name])]],
    ["stream", names],
    ["strategy", oddities],
    ["persist", oddities],
    ["deleteAfterSend", flags],
    ["requireTransaction", flags],
    ["timeout", [...durations, 0, "25 days"]],
    ["version", [...wholes, 0]],
    ["upcast", [5, "odd", {}, 0n, Symbol("odd")]],
    ["codec", codecs],
    ...retries,
    ["orderingkey", [() => "a"]],
  ])("of saveToOutbox: %s", (option, values) => {
    expect(notRefused(option, values, (options) => outbox.saveToOutbox(publish, options))).toEqual([]);
    // Nothing of them is registered.
    expect(outbox.saveToOutbox(publish).functionName).toBe("publish");
  });

  it("that exclude each other", () => {
    const refused = (options: FunctionOptions<[]>) => caught(() => outbox.saveToOutbox(publish, options));
    expect(refused({ orderingKey: () => "a" })).toMatchObject({ option: "publish: orderingKey" });
    expect(refused({ strategy: "keep-order", orderingKey: "a" as never })).toMatchObject({
      option: "publish: orderingKey",
    });
    expect(refused({ strategy: "keep-order", persist: "on-failure" })).toMatchObject({ option: "publish: persist" });
    expect(refused({ version: 2 })).toMatchObject({ option: "publish: upcast" });
    const orderly = createOutbox({ knex, strategy: "keep-order", persist: "on-failure" });
    expect(orderly.saveToOutbox(publish).functionName).toBe("publish");
  });

  it("that are no object, and functions that are none", () => {
    for (const options of [null, undefined, "odd", 5]) {
      expect(caught(() => createOutbox(options as never))).toMatchObject({ code: "CARTEIRO_INVALID_OPTION" });
    }
    for (const options of [null, "odd", 5, () => undefined]) {
      expect(caught(() => outbox.saveToOutbox(publish, options as never))).toMatchObject({
        code: "CARTEIRO_INVALID_OPTION",
      });
    }
    for (const fn of [undefined, null, "send", {}, 5]) {
      expect(caught(() => outbox.saveToOutbox(fn as never))).toMatchObject({ option: "saveToOutbox" });
    }
  });

  it("null and undefined are as if they were left out", () => {
    const options = { knex, strategy: undefined, codec: null, logger: null, retry: undefined, wakeUps: null };
    const lenient = createOutbox(options as unknown as OutboxOptions);
    const functionOptions = { name: undefined, stream: undefined, aliases: null, version: undefined };
    expect(lenient.saveToOutbox(publish, functionOptions as never).functionName).toBe("publish");
  });
});

describe("names", () => {
  const outboxWith = (...given: [fn: () => unknown, options?: FunctionOptions<[]>][]) => {
    const outbox = createOutbox({ knex: knexFactory({ client: "pg" }) });
    for (const [fn, options] of given) outbox.saveToOutbox(fn, options);
    return outbox;
  };

  it("are the functions' own where these are long enough, bound methods' too", () => {
    const outbox = outboxWith();
    const service = { async sendReceipt() {} };
    expect(outbox.saveToOutbox(service.sendReceipt).functionName).toBe("sendReceipt");
    expect(outbox.saveToOutbox(service.sendReceipt.bind(service)).functionName).toBe("bound sendReceipt");
    expect(outbox.saveToOutbox(async () => {}, { name: "x" }).functionName).toBe("x");
    expect(outbox.saveToOutbox(async () => {}, { name: "the receipt ✉" }).name).toBe("the receipt ✉");
  });

  it.each([[() => undefined], [{ ab: () => undefined }.ab], [{ [Symbol("abc")]: undefined, "": () => undefined }[""]]])(
    "that a bundler could have made are refused: %s",
    (fn) => {
      expect(caught(() => outboxWith([fn]))).toBeInstanceOf(UnnamedFunctionError);
    },
  );

  it("are taken once, aliases included, and nothing is registered where one is", () => {
    const outbox = outboxWith([async () => {}, { name: "one", aliases: ["uno", "eins", "one", "uno"] }]);
    const refused: FunctionOptions<[]>[] = [
      { name: "one" },
      { name: "uno" },
      { name: "two", aliases: ["one"] },
      { name: "two", aliases: ["zwei", "eins"] },
    ];
    for (const options of refused) {
      const error = caught(() => outbox.saveToOutbox(async () => {}, options));
      expect(error).toBeInstanceOf(DuplicateFunctionError);
      expect((error as Error).message).toContain('the function "one"');
    }
    expect(outbox.saveToOutbox(async () => {}, { name: "two", aliases: ["zwei"] }).functionName).toBe("two");
    expect(outbox.saveToOutbox(async () => {}, { name: "ONE", aliases: ["One"] }).functionName).toBe("ONE");
  });
});

/** Its `option` ends in it, after the function's name, and its message begins with that. */
function namesOption({ option, message }: InvalidOptionError, expected: string): boolean {
  return (option === expected || option.endsWith(`: ${expected}`)) && message.startsWith(`${option} `);
}
