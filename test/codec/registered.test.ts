import { describe, expect, it, vi } from "vitest";
import { createSuperjsonCodec, decodePayload, encodeArguments, type Transformer } from "../../src/codec.js";
import { InvalidOptionError, UndecodablePayloadError } from "../../src/errors.js";
import { difference, refusalOf, roundTrip } from "./support.js";

const constructed = vi.fn();

class Customer {
  name: string;
  since: Date;
  cache?: unknown;
  constructor(name: string) {
    constructed();
    this.name = name;
    this.since = new Date(1);
  }
  get label(): string {
    return `${this.name}!`;
  }
}

class Premium extends Customer {}

class PaymentError extends Error {
  readonly code: string;
  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "PaymentError";
    this.code = code;
  }
}

class Money {
  readonly #cents: bigint;
  constructor(cents: bigint) {
    this.#cents = cents;
  }
  get cents(): bigint {
    return this.#cents;
  }
}

const money: Transformer<Money, bigint> = {
  name: "Money",
  isApplicable: (value) => value instanceof Money,
  serialize: (value) => value.cents,
  deserialize: (cents) => new Money(cents),
};

describe("a registered class", () => {
  const codec = createSuperjsonCodec({ classes: [Customer, PaymentError] });

  it("comes back with its fields and methods, and its constructor does not run", () => {
    const customer = new Customer("Ana");
    constructed.mockClear();
    const [decoded] = roundTrip([customer], codec) as [Customer];
    expect(difference(decoded, customer)).toBeUndefined();
    expect(decoded).toBeInstanceOf(Customer);
    expect(decoded.label).toBe("Ana!");
    expect(constructed).not.toHaveBeenCalled();
  });

  it("comes back inside of others, with others inside of it", () => {
    const customer = new Customer("Ana");
    customer.cache = new Map([["friends", new Set([new Customer("Bea"), undefined])]]);
    const args = [new Map([[customer, { customer: new Customer("Eva") }]])];
    expect(difference(roundTrip(args, codec), args)).toBeUndefined();
  });

  it("comes back as an error, where it is one", () => {
    const error = new PaymentError("declined", "E42", { cause: new Customer("Ana") });
    const [decoded] = roundTrip([error], codec) as [PaymentError];
    expect(difference(decoded, error)).toBeUndefined();
    expect(Object.prototype.toString.call(decoded)).toBe("[object Error]");
    expect([decoded.name, decoded.message, decoded.code]).toEqual(["PaymentError", "declined", "E42"]);
  });

  it("is refused for what is in it by its path", () => {
    const customer = new Customer("Ana");
    customer.cache = { run: () => 1 };
    expect(refusalOf([[customer]], codec).path).toBe("args[0][0].cache.run");
  });

  it("does not cover its subclasses", () => {
    expect(refusalOf([new Premium("Ana")], codec).message).toContain("is a class instance (Premium)");
    const both = createSuperjsonCodec({ classes: [Customer, Premium] });
    expect(difference(roundTrip([new Premium("Ana")], both), [new Premium("Ana")])).toBeUndefined();
  });

  it("may have a name that outlives a rename", () => {
    const before = createSuperjsonCodec({ classes: [{ class: Customer, name: "Client" }] });
    const after = createSuperjsonCodec({ classes: [{ class: Premium, name: "Client" }] });
    const [decoded] = decodePayload(after, encodeArguments(before, [new Customer("Ana")]));
    expect(decoded).toBeInstanceOf(Premium);
  });

  it("may store some of its fields", () => {
    const some = createSuperjsonCodec({ classes: [{ class: Customer, fields: ["name", "missing"] }] });
    const customer = Object.assign(new Customer("Ana"), { cache: () => "not stored" });
    const [decoded] = roundTrip([customer], some) as [Customer];
    expect(decoded).toBeInstanceOf(Customer);
    expect(Object.entries(decoded)).toEqual([["name", "Ana"]]);
  });

  it("runs no setter of its own when it is made again", () => {
    const set = vi.fn();
    class Account {
      set balance(_value: number) {
        set();
      }
    }
    const account = Object.defineProperty(new Account(), "balance", {
      value: 5,
      enumerable: true,
      writable: true,
      configurable: true,
    });
    const accounts = createSuperjsonCodec({ classes: [Account] });
    expect(difference(roundTrip([account], accounts), [account])).toBeUndefined();
    expect(set).not.toHaveBeenCalled();
  });

  it("cannot be decoded where it is not registered, and is named", () => {
    const text = encodeArguments(codec, [new Customer("Ana")]);
    const decode = () => decodePayload(createSuperjsonCodec(), text);
    expect(decode).toThrow(UndecodablePayloadError);
    expect(decode).toThrow('the type "Customer" is not registered with the codec');
  });

  it("leaves other codecs alone", () => {
    expect(refusalOf([new Customer("Ana")], createSuperjsonCodec()).path).toBe("args[0]");
  });
});

describe("a transformer", () => {
  const codec = createSuperjsonCodec({ transformers: [money] });

  it("brings back what is more than its fields", () => {
    const [decoded, list] = roundTrip([new Money(5n), [new Money(7n)]], codec) as [Money, [Money]];
    expect(decoded).toBeInstanceOf(Money);
    expect([decoded.cents, list[0].cents]).toEqual([5n, 7n]);
  });

  it("brings one object back as one", () => {
    const price = new Money(5n);
    const [first, { second }] = roundTrip([price, { second: price }], codec) as [Money, { second: Money }];
    expect(first).toBe(second);
    expect(first.cents).toBe(5n);
  });

  it("comes before what the codec would do itself, for subclasses of built-ins too", () => {
    class Index extends Map<string, number> {}
    const index: Transformer<Index, object> = {
      name: "Index",
      isApplicable: (value) => value instanceof Index,
      serialize: (value) => new Map(value),
      deserialize: (map) => new Index(map as Map<string, number>),
    };
    const date: Transformer<Date, number> = {
      name: "Moment",
      isApplicable: (value) => value instanceof Date,
      serialize: (value) => value.getTime() + 1,
      deserialize: (time) => new Date(time),
    };
    const both = createSuperjsonCodec({ transformers: [index, date] });
    const [map, moment] = roundTrip([new Index([["a", 1]]), new Date(5)], both);
    expect(map).toEqual(new Index([["a", 1]]));
    expect(moment).toEqual(new Date(6));
  });

  it("is not asked for plain data", () => {
    const isApplicable = vi.fn(() => true);
    const all = createSuperjsonCodec({ transformers: [{ ...money, isApplicable }] });
    roundTrip([{ a: [1, null, "x", Object.create(null)] }], all);
    expect(isApplicable).not.toHaveBeenCalled();
  });

  it("may store rich data, whose repeats come back as copies", () => {
    const shared = { at: new Date(1) };
    const pair: Transformer<Money, unknown[]> = {
      ...(money as object as Transformer<Money, unknown[]>),
      serialize: () => [shared, shared, new Set([2n])],
      deserialize: (data) => Object.assign(new Money(1n), { data }),
    };
    const [decoded, other] = roundTrip([new Money(1n), shared], createSuperjsonCodec({ transformers: [pair] })) as [
      { data: unknown[] },
      object,
    ];
    expect(decoded.data).toEqual([shared, shared, new Set([2n])]);
    expect(decoded.data[0]).not.toBe(decoded.data[1]);
    expect(decoded.data[0]).not.toBe(other);
  });

  it.each<[name: string, serialize: (value: Money) => unknown, problem: string]>([
    ["a function inside", () => ({ a: [() => 1] }), "data.a[0] is a function"],
    ["the value itself", (value) => value, "data refers back to an object that it is part of"],
    ["the value deeper", (value) => ({ value }), "data.value refers back to an object that it is part of"],
    ["data that holds itself", () => selfish(), "data.self refers back to an object that it is part of"],
  ])("is refused where it stores %s", (_name, serialize, problem) => {
    const wrong = createSuperjsonCodec({ transformers: [{ ...money, serialize }] });
    const refusal = refusalOf([{ price: new Money(1n) }], wrong);
    expect(refusal.path).toBe("args[0].price");
    expect(refusal.message).toContain(`args[0].price could not be stored by its transformer Money: ${problem}`);
    expect(refusal.cause).toBeInstanceOf(Error);
  });

  it("is refused where it stores what it is a part of", () => {
    const order: Record<string, unknown> = { price: new Money(1n) };
    const wrong = createSuperjsonCodec({ transformers: [{ ...money, serialize: () => ({ order }) }] });
    expect(refusalOf([[order]], wrong).message).toBe(
      "args[0][0].price could not be stored by its transformer Money: data.order refers back to an object that it is part of",
    );
  });

  it("is refused where it stores, through another, what it is a part of", () => {
    class Wrapper {
      value = new Money(1n);
    }
    const order: Record<string, unknown> = { wrapper: new Wrapper() };
    const wrapper: Transformer<Wrapper> = {
      name: "Wrapper",
      isApplicable: (value) => value instanceof Wrapper,
      serialize: ({ value }) => [value],
      deserialize: () => new Wrapper(),
    };
    const circular: Transformer<Money> = { ...money, serialize: () => ({ order }) };
    expect(refusalOf([order], createSuperjsonCodec({ transformers: [wrapper, circular] })).message).toBe(
      "args[0].wrapper could not be stored by its transformer Wrapper: data[0] could not be stored by its transformer " +
        "Money: data.order refers back to an object that it is part of",
    );
  });

  it.each(["isApplicable", "serialize"] as const)("is named where its %s throws", (part) => {
    const failure = new Error("broken");
    const fail = () => {
      throw failure;
    };
    const refusal = refusalOf([[new Money(1n)]], createSuperjsonCodec({ transformers: [{ ...money, [part]: fail }] }));
    expect(refusal.path).toBe("args[0][0]");
    expect(refusal.message).toContain("Money");
    expect(refusal.cause).toBe(failure);
  });

  it("that cannot make the value again is found out when the call is saved", () => {
    const failure = new Error("broken");
    const deserialize = () => {
      throw failure;
    };
    const refusal = refusalOf([new Money(1n)], createSuperjsonCodec({ transformers: [{ ...money, deserialize }] }));
    expect(refusal.path).toBe("args");
    expect(refusal.message).toContain("could not decode what it encoded: broken");
    expect(refusal.cause).toBe(failure);
  });
});

function selfish(): object {
  const self: Record<string, unknown> = {};
  self["self"] = self;
  return self;
}

describe("the codec's name", () => {
  it("is superjson unless told otherwise", () => {
    expect([createSuperjsonCodec().name, createSuperjsonCodec({ name: "ours" }).name]).toEqual(["superjson", "ours"]);
  });
});

describe("registrations that cannot be used", () => {
  const id = {
    Id: class {
      value = 1;
    },
  };
  const wrong: readonly [name: string, options: object, option: string, problem: string][] = [
    ["no class", { classes: [{}] }, "classes[0]", "must be a class"],
    ["nothing", { classes: [Customer, undefined] }, "classes[1]", "must be a class"],
    ["a function that makes nothing", { classes: [() => 1] }, "classes[0]", "must be a class"],
    ["Object", { classes: [Object] }, "classes[0]", "is Object"],
    ["Map", { classes: [Map] }, "classes[0]", "is or extends Map, which is more"],
    [
      "what extends Date",
      { classes: [class Moment extends Date {}] },
      "classes[0]",
      "is or extends Date, which is more",
    ],
    [
      "what extends Array",
      { classes: [class Tags extends Array {}] },
      "classes[0]",
      "is or extends Array, which is more",
    ],
    ["Buffer", { classes: [Buffer] }, "classes[0]", "is or extends TypedArray, which is more"],
    ["Promise", { classes: [Promise] }, "classes[0]", "is or extends Promise, which is more"],
    ["an error that is built in", { classes: [TypeError] }, "classes[0]", "knows already"],
    ["the same twice", { classes: [Customer, { class: Customer, name: "Other" }] }, "classes[1]", "knows already"],
    ["a name that is taken", { classes: [Customer, { class: Premium, name: "Customer" }] }, "classes[1]", "is taken"],
    ["the name of a built-in", { classes: [{ class: Customer, name: "Buffer" }] }, "classes[0]", "is taken"],
    ["the name of references", { classes: [{ class: Customer, name: "reference" }] }, "classes[0]", "is taken"],
    ["a bundler's name", { classes: [id.Id] }, "classes[0]", 'is a class named "Id"'],
    ["some fields of an error", { classes: [{ class: PaymentError, fields: [] }] }, "classes[0].fields", "left out"],
    ["an empty name", { transformers: [{ ...money, name: "" }] }, "transformers[0].name", "must be a text"],
    ["no transformer", { transformers: [null] }, "transformers[0].name", "must be a text"],
    ["no deserialize", { transformers: [{ ...money, deserialize: 1 }] }, "transformers[0].deserialize", "function"],
    ["two of one name", { transformers: [money, money] }, "transformers[1]", "is taken"],
    ["a class and a transformer of one name", { classes: [Customer], transformers: [{ ...money, name: "Customer" }] }, "transformers[0]", "is taken"], // prettier-ignore
  ];

  it.each(wrong)("%s", (_name, options, option, problem) => {
    const create = () => createSuperjsonCodec(options);
    expect(create).toThrow(InvalidOptionError);
    expect(create).toThrow(`${option} `);
    expect(create).toThrow(problem);
  });
});
