/** Checked by the compiler alone: what is written here is never run. */
/* eslint-disable @typescript-eslint/no-unsafe-class-instance-assignment, @typescript-eslint/no-unsafe-return -- much is wrong on purpose */
import type { Knex } from "knex";
import { expectTypeOf } from "vitest";
import {
  type Call,
  type CurrentCall,
  currentCall,
  createOutbox,
  type Headers,
  type Outbox,
  type OutboxEvents,
  type SavedCall,
  type SavedFunction,
  type SaveToOutbox,
  type Strategy,
} from "../../src/index.js";

interface Order {
  customerId: string;
  total: number;
}

declare const knex: Knex;
declare const trx: Knex.Transaction;
declare const order: Order;
declare const outbox: Outbox;
const { saveToOutbox } = outbox;

// Parameters: required, optional, with a default, rest.
const publish = saveToOutbox(
  async (_order: Order, _priority?: number, _dryRun = false, ..._tags: string[]) => "published",
);
expectTypeOf(publish).parameters.toEqualTypeOf<[Order, number?, boolean?, ...string[]]>();
expectTypeOf(publish).returns.toEqualTypeOf<Promise<SavedCall>>();
expectTypeOf(publish(order)).resolves.toEqualTypeOf<{ id: string; function: string; stream: string }>();
void publish(order, 1, true, "a", "b");
void publish(order, undefined);
// @ts-expect-error the order is missing
void publish();
// @ts-expect-error a priority is a number
void publish(order, "high");
// @ts-expect-error a tag is a text
void publish(order, 1, true, 5);
// @ts-expect-error half an order
void publish({ customerId: "a" });

// The ways around it take the same parameters.
expectTypeOf(publish.in(trx)).parameters.toEqualTypeOf<[Order, number?, boolean?, ...string[]]>();
expectTypeOf(publish.in(trx, { delay: "5s" })(order)).resolves.toEqualTypeOf<SavedCall>();
expectTypeOf(publish.with({ trx, delay: 5, headers: { a: "b" }, orderingKey: "k" })).parameters.toEqualTypeOf<
  Parameters<typeof publish>
>();
expectTypeOf(publish.with({ runAt: new Date() })(order)).resolves.toEqualTypeOf<SavedCall>();
expectTypeOf(publish.original).toEqualTypeOf<
  (order: Order, priority?: number, dryRun?: boolean, ...tags: string[]) => Promise<string>
>();
expectTypeOf(publish.functionName).toEqualTypeOf<string>();
// @ts-expect-error a knex instance is no transaction
void publish.in(knex)(order);
// @ts-expect-error nor is a promise of one
void publish.in(knex.transaction())(order);
// @ts-expect-error the transaction is the first parameter of in
void publish.in({ trx })(order);
// @ts-expect-error the arguments follow
void publish.in(trx)();
// @ts-expect-error no such option
void publish.with({ dealy: 5 })(order);
// @ts-expect-error a moment is a Date
void publish.with({ runAt: "2030-01-01" })(order);
// @ts-expect-error a header is a text
void publish.with({ headers: { tenant: 5 } })(order);
// @ts-expect-error it cannot be assigned
publish.functionName = "another";

// Functions of every kind.
expectTypeOf(saveToOutbox(function noParameters() {})).parameters.toEqualTypeOf<[]>();
expectTypeOf(saveToOutbox(() => 5).original()).toEqualTypeOf<number>();
const readonlyParameters = saveToOutbox((...[_a, _b]: readonly [a: string, b: number]) => {});
void readonlyParameters("a", 5);
// @ts-expect-error both are needed
void readonlyParameters("a");

function overloaded(name: string): string;
function overloaded(name: string, times: number): number;
function overloaded(name: string, times?: number): string | number {
  return times ?? name;
}
// The last overload is the one that is seen: the compiler infers from no other.
expectTypeOf(saveToOutbox(overloaded)).parameters.toEqualTypeOf<[name: string, times: number]>();

const generic = saveToOutbox(async <T extends Order>(_event: T, _rest: T[]) => {});
expectTypeOf(generic).parameters.toEqualTypeOf<[Order, Order[]]>();
void generic({ customerId: "a", total: 5 }, []);
// @ts-expect-error not within the constraint
void generic({ customerId: "a" }, []);
expectTypeOf(saveToOutbox(async <T>(_value: T) => {})).parameters.toEqualTypeOf<[unknown]>();

class Mailer {
  readonly sender = "shop";
  async send(_to: string, _copies: string[] = []): Promise<string> {
    return this.sender;
  }
  static readonly sendAll = async (_to: readonly string[]): Promise<void> => {};
}
const mailer = new Mailer();
expectTypeOf(saveToOutbox(mailer.send.bind(mailer))).parameters.toEqualTypeOf<[string, string[]?]>();
expectTypeOf(saveToOutbox((...args: Parameters<Mailer["send"]>) => mailer.send(...args))).parameters.toEqualTypeOf<
  [string, string[]?]
>();
expectTypeOf(saveToOutbox(Mailer.sendAll)).parameters.toEqualTypeOf<[readonly string[]]>();
// @ts-expect-error an object is no function
saveToOutbox(mailer);
// @ts-expect-error nor is a promise of one
saveToOutbox(Promise.resolve(publish.original));

// What is saved can be passed on, and wrapped with care.
expectTypeOf(saveToOutbox).toEqualTypeOf<SaveToOutbox>();
expectTypeOf(publish).toExtend<SavedFunction<Parameters<typeof publish>, Promise<string>>>();
expectTypeOf(publish).toExtend<(order: Order) => Promise<SavedCall>>();

// The options see the parameters.
const ordered = saveToOutbox(async (_order: Order, _attempt?: number) => {}, {
  name: "ordered",
  aliases: ["formerly"] as const,
  strategy: "keep-order",
  orderingKey: (order, attempt) => {
    expectTypeOf(order).toEqualTypeOf<Order>();
    expectTypeOf(attempt).toEqualTypeOf<number | undefined>();
    return order.customerId;
  },
  version: 2,
  upcast: (args, fromVersion) => {
    expectTypeOf(args).toEqualTypeOf<unknown[]>();
    expectTypeOf(fromVersion).toEqualTypeOf<number>();
    return [args[0] as Order];
  },
  retry: (error, attempt) => {
    expectTypeOf(error).toEqualTypeOf<unknown>();
    expectTypeOf(attempt).toEqualTypeOf<number>();
    return attempt > 3 ? false : 1000;
  },
});
expectTypeOf(ordered).parameters.toEqualTypeOf<[Order, number?]>();
saveToOutbox(async (_order: Order) => {}, { name: "async", version: 2, upcast: async ([order]) => [order as Order] });
saveToOutbox(async (_order: Order) => {}, {
  name: "wrongKey",
  strategy: "keep-order",
  // @ts-expect-error an ordering key is a text
  orderingKey: (order) => order.total,
});
saveToOutbox(async (_order: Order) => {}, {
  name: "wrongParameter",
  strategy: "keep-order",
  // @ts-expect-error an order has no such property
  orderingKey: (order) => order.customer,
});
// @ts-expect-error an ordering key is not optional
saveToOutbox(async (_key?: string) => {}, { name: "maybe", strategy: "keep-order", orderingKey: (key) => key });
// @ts-expect-error nor is it awaited
saveToOutbox(async (key: string) => key, { name: "later", strategy: "keep-order", orderingKey: async (key) => key });
saveToOutbox(async (_order: Order) => {}, {
  name: "wrongUpcast",
  version: 2,
  // @ts-expect-error it gives the arguments, in an array
  upcast: ([order]) => order as Order,
});
saveToOutbox(async (_order: Order) => {}, {
  name: "wrongShape",
  version: 2,
  // @ts-expect-error it gives what the function takes
  upcast: () => ["an order"],
});
// @ts-expect-error no such strategy
saveToOutbox(async () => {}, { name: "strategy", strategy: "fifo" });
// @ts-expect-error no such option
saveToOutbox(async () => {}, { name: "option", priority: 5 });
// @ts-expect-error the outbox's alone
saveToOutbox(async () => {}, { name: "concurrency", concurrency: 5 });

// Options of the outbox.
createOutbox({ knex, retry: { initialDelay: "1s", jitter: 0 }, timeout: 5000, persist: "on-failure" });
createOutbox({
  knex,
  codec: { name: "json", encode: (args) => JSON.stringify(args), decode: (text) => JSON.parse(text) as unknown[] },
});
createOutbox({ knex, logger: console });
// @ts-expect-error knex is required
createOutbox({});
// @ts-expect-error a function's alone
createOutbox({ knex, orderingKey: () => "a" });
// @ts-expect-error a duration is a number or a text
createOutbox({ knex, lease: new Date() });

// Transactions give what their work gives.
expectTypeOf(outbox.transaction(async () => 5)).resolves.toEqualTypeOf<number>();
expectTypeOf(outbox.transaction(() => "text")).resolves.toEqualTypeOf<string>();
expectTypeOf(outbox.transaction(() => publish(order))).resolves.toEqualTypeOf<SavedCall>();
void outbox.transaction(
  (given) => {
    expectTypeOf(given).toEqualTypeOf<Knex.Transaction>();
  },
  { isolationLevel: "serializable", readOnly: true },
);
// @ts-expect-error it needs work to do
void outbox.transaction();
// @ts-expect-error no such isolation level
void outbox.transaction(() => 5, { isolationLevel: "chaos" });

// Events.
outbox.on("saved", ({ call }) => {
  expectTypeOf(call).toEqualTypeOf<Omit<Call, "createdAt">>();
  // @ts-expect-error it is not known yet
  return call.createdAt;
});
outbox.on("published", (event) => {
  expectTypeOf(event).toEqualTypeOf<OutboxEvents["published"]>();
  expectTypeOf(event.source).toEqualTypeOf<"commit" | "relay">();
  expectTypeOf(event.call.args).toEqualTypeOf<readonly unknown[]>();
  expectTypeOf(event.call.orderingKey).toEqualTypeOf<string | undefined>();
  expectTypeOf(event.call.createdAt).toEqualTypeOf<Date>();
  expectTypeOf(event.durationMs).toEqualTypeOf<number>();
  // @ts-expect-error what was published has no error
  return event.error;
});
outbox.on("failed", async ({ error, attempt, nextAttemptAt }) => {
  expectTypeOf(error).toEqualTypeOf<unknown>();
  expectTypeOf(attempt).toEqualTypeOf<number>();
  expectTypeOf(nextAttemptAt).toEqualTypeOf<Date | undefined>();
});
outbox.on("dead", ({ call, error }) => expectTypeOf([call, error] as const).toEqualTypeOf<readonly [Call, unknown]>());
outbox.on("blocked", ({ nextAttemptAt }) => expectTypeOf(nextAttemptAt).toEqualTypeOf<Date | undefined>());
outbox.on("unroutable", ({ function: name, strategy }) => {
  expectTypeOf(name).toEqualTypeOf<string>();
  expectTypeOf(strategy).toEqualTypeOf<Strategy>();
});
outbox.on("leaseLost", ({ stream, call }) => {
  expectTypeOf(stream).toEqualTypeOf<string>();
  expectTypeOf(call).toEqualTypeOf<Call | undefined>();
});
outbox.on("abandoned", ({ durationMs }) => expectTypeOf(durationMs).toEqualTypeOf<number>());
outbox.on("cleaned", ({ deleted }) => expectTypeOf(deleted).toEqualTypeOf<number>());
expectTypeOf(outbox.on("saved", () => {})).toEqualTypeOf<() => void>();
// @ts-expect-error no such event
outbox.on("sent", () => {});
// @ts-expect-error of another event
outbox.on("cleaned", ({ call }) => call);

// What a run knows of itself.
expectTypeOf(currentCall()).toEqualTypeOf<CurrentCall | undefined>();
expectTypeOf<CurrentCall["signal"]>().toEqualTypeOf<AbortSignal>();
expectTypeOf<CurrentCall["headers"]>().toEqualTypeOf<Headers>();
expectTypeOf<CurrentCall["fence"]>().toEqualTypeOf<number>();
// @ts-expect-error outside a run there is none
export const { id } = currentCall();
