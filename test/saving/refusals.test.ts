import { inspect } from "node:util";
import type { Knex } from "knex";
import { beforeEach, expect, it } from "vitest";
import { type Outbox, PayloadTooLargeError, UnserializableArgumentError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { caught, cyclic, oddities } from "./oddities.js";

describeEachEngine("a call is refused, and nothing stored, for", (engine) => {
  const outboxes = useOutboxes(engine);
  let outbox: Outbox;
  beforeEach(() => {
    outbox = outboxes.open({ maxPayloadBytes: 500 });
  });
  /** By both ways: what is refused, and that its transaction may commit all the same. */
  const expectRefused = async (save: (trx?: Knex.Transaction) => Promise<unknown>, expected: object): Promise<void> => {
    const refusal = (trx?: Knex.Transaction) => save(trx).then(() => "saved", (error: unknown) => error); // prettier-ignore
    expect(await outbox.transaction(() => refusal())).toMatchObject(expected);
    expect(await outboxes.knex.transaction((trx) => refusal(trx))).toMatchObject(expected);
    expect(await outboxes.rows()).toEqual([]);
  };

  it("options of its own that cannot be used", async () => {
    const send = outbox.saveToOutbox(async () => {}, { name: "send" });
    const order = outbox.saveToOutbox(async () => {}, {
      name: "order",
      strategy: "keep-order",
      orderingKey: () => "own",
    });
    const cases: [string, unknown][] = [
      ...[
        ...oddities.filter((odd) => odd !== ""),
        "",
        null,
        Infinity,
        "1 fortnight",
        Number.MAX_VALUE,
        "9000 years",
      ].map((odd): [string, unknown] => ["delay", odd]),
      ...[...oddities, null, 5, "2030-01-01", new Date(NaN), new Date(-1), new Date(8.64e15)].map(
        (odd): [string, unknown] => ["runAt", odd],
      ),
      ...[
        ...oddities.filter((odd) => !isPlain(odd)),
        null,
        5,
        ["a"],
        new Map([["a", "b"]]),
        new Date(),
        cyclic,
        { a: 5 },
        { a: undefined },
      ].map((odd): [string, unknown] => ["headers", odd]),
      ["dealy", 5],
      ["trx", {}],
      ["trx", () => undefined],
    ];
    for (const [option, value] of cases) {
      const expected = {
        code: "CARTEIRO_INVALID_OPTION",
        option: expect.stringMatching(new RegExp(`^(send: )?${option}`)) as string,
      };
      const save = (trx?: Knex.Transaction) =>
        trx && option !== "trx" ? send.in(trx, { [option]: value })() : send.with({ [option]: value })();
      await expectRefused(save, expected);
    }
    await expectRefused((trx) => send.with({ delay: 1, runAt: new Date(), trx })(), { option: "send: delay" });
    await expectRefused((trx) => send.with({ orderingKey: "a", trx })(), { option: "send: orderingKey" });
    for (const key of [null, 5, ""]) {
      await expectRefused((trx) => order.with({ orderingKey: key as never, trx })(), { option: "order: orderingKey" });
    }
    await expectRefused(() => send.with(null as never)(), { code: "CARTEIRO_INVALID_OPTION" });
    for (const trx of [undefined, null, {}, outboxes.knex, () => undefined, Promise.resolve()]) {
      expect(caught(() => send.in(trx as never))).toMatchObject({ option: "send: trx" });
    }
  });

  const keys: unknown[] = [
    ...[undefined, null, "", "k".repeat(256), "ç".repeat(128), "a\0b", "\ud800", "a\udc00b"],
    ...[5, 0n, true, {}, cyclic, Promise.resolve("a"), Symbol("a")],
  ];
  it.each(keys.map((key) => [inspect(key).slice(0, 30), key] as const))("the ordering key %s", async (_, key) => {
    const options = { name: "order", strategy: "keep-order", orderingKey: () => key as string } as const;
    const order = outbox.saveToOutbox(async () => {}, options);
    const save = (trx?: Knex.Transaction) => (trx ? order.in(trx) : order)();
    await expectRefused(save, { code: "CARTEIRO_INVALID_OPTION", option: "order: orderingKey" });
  });

  it("an ordering key that could not be found", async () => {
    const failure = new Error("no such customer");
    const orderingKey = () => {
      throw failure;
    };
    const order = outbox.saveToOutbox(async () => {}, { name: "order", strategy: "keep-order", orderingKey });
    const caughtBy = outbox.transaction(() => order().catch((error: unknown) => error));
    expect(await caughtBy).toBe(failure);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("more bytes than maxPayloadBytes, arguments and headers together", async () => {
    const codec = {
      name: "plain",
      encode: ([text]: readonly unknown[]) => String(text),
      decode: (text: string) => [text],
    };
    const send = outbox.saveToOutbox(async (_text: string) => {}, { name: "send", codec });
    const headers = { tenant: "ç" };
    const room = 500 - Buffer.byteLength(JSON.stringify(headers));
    await outbox.transaction(() => send.with({ headers })("x".repeat(room)));
    await outbox.idle();
    const tooLarge = {
      code: "CARTEIRO_PAYLOAD_TOO_LARGE",
      message: expect.stringMatching(/^send: .* 501 bytes/) as string,
    };
    await expectRefused((trx) => send.with({ headers, trx })("x".repeat(room + 1)), tooLarge);
    await expectRefused((trx) => send.with({ headers, trx })("x".repeat(room - 1) + "ç"), tooLarge);
    await expect(outbox.transaction(() => send("x".repeat(600)))).rejects.toBeInstanceOf(PayloadTooLargeError);
  });

  it("arguments that would not come back, and says which", async () => {
    const send = outbox.saveToOutbox(async (..._args: unknown[]) => {}, { name: "sendReceipt" });
    const cases: [unknown[], string][] = [
      [[{ items: [1, 2, { onClick() {} }] }], "args[0].items[2].onClick"],
      [["fine", Promise.resolve(1)], "args[1]"],
      [[new Customer()], "args[0]"],
      [[new Map([["a", Symbol("b")]])], "args[0]<value 0>"],
      [[{ when: new Date(NaN) }], "args[0].when"],
      [[{ "first name": new WeakMap() }], 'args[0]["first name"]'],
    ];
    for (const [args, path] of cases) {
      const message = expect.stringMatching(/^sendReceipt: args/) as string;
      await expectRefused((trx) => (trx ? send.in(trx) : send)(...args), { path, message });
    }
    await expect(outbox.transaction(() => send(() => undefined))).rejects.toBeInstanceOf(UnserializableArgumentError);
  });
});

class Customer {
  readonly id = 5;
}

function isPlain(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && value !== cyclic;
}
