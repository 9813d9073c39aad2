export interface Item {
  sku: string;
  quantity: number;
}

/** What a customer asks for. */
export interface OrderRequest {
  customerId: string;
  email: string;
  items: Item[];
}

/** What was sold. Stored with both calls, as it was when the order was placed. */
export interface Order extends OrderRequest {
  id: string;
  /** 1 for the customer's first order, without gaps. */
  number: number;
  placedAt: Date;
}

/** An order that is not taken, with the HTTP status that says so. */
export class OrderRefused extends Error {
  readonly status: 400 | 409 | 422;

  constructor(status: 400 | 409 | 422, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "OrderRefused";
    this.status = status;
  }
}

/** @throws {OrderRefused} the body has not the shape of an order */
export function parseOrderRequest(body: unknown): OrderRequest {
  const { customerId, email, items } = asObject(body, "the body");
  if (!Array.isArray(items) || items.length === 0) throw new OrderRefused(400, "items must be a list with an item");
  return {
    customerId: asText(customerId, "customerId"),
    email: asEmail(email),
    items: items.map((item: unknown, index) => {
      const { sku, quantity } = asObject(item, `items[${index}]`);
      return { sku: asText(sku, `items[${index}].sku`), quantity: asQuantity(quantity, `items[${index}].quantity`) };
    }),
  };
}

function asObject(value: unknown, what: string): Record<string, unknown> {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new OrderRefused(400, `${what} must be an object`);
}

/** Short and plain: a customer's id is an ordering key, of at most 255 bytes. */
function asText(value: unknown, what: string): string {
  if (typeof value === "string" && /^[\w.-]{1,100}$/.test(value)) return value;
  throw new OrderRefused(400, `${what} must be 1 to 100 letters, digits, dots, dashes or underscores`);
}

function asEmail(value: unknown): string {
  if (typeof value === "string" && /^[\w.+-]{1,64}@[\w.-]{1,190}$/.test(value)) return value;
  throw new OrderRefused(400, "email must be an address");
}

function asQuantity(value: unknown, what: string): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 1000) return value as number;
  throw new OrderRefused(400, `${what} must be a whole number from 1 to 1000`);
}
