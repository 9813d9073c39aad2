import type { OrderRequest } from "../../../examples/orders-rabbitmq/order.js";

const clients = 6;
export const customers = 10;
const maxAttempts = 20;
const products = ["lamp", "chair", "table"];
/** Of which there is none, too few, and nothing at all. */
export const soldOut = "unicorn";
export const scarce = "amphora";
const unknown = "perpetuum-mobile";

/** What became of the orders, as the clients know it. */
export interface Outcomes {
  /** The ids of those answered with 201. */
  placed: string[];
  /** Answered with 409 or 422: the transaction had inserted the order and made its calls. */
  refused: Record<409 | 422, number>;
  /** The service died, or closed, before it answered: the order is stored or not. */
  unanswered: number;
}

/** Several clients that place orders of the same customers at once. */
export class OrderClients {
  readonly outcomes: Outcomes = { placed: [], refused: { 409: 0, 422: 0 }, unanswered: 0 };
  readonly #url: string;
  readonly #serviceIsUp: () => Promise<unknown>;
  #next = 0;

  constructor(url: string, serviceIsUp: () => Promise<unknown>) {
    this.#url = url;
    this.#serviceIsUp = serviceIsUp;
  }

  /** Resolves when that many orders have been answered. */
  async place(count: number): Promise<void> {
    const end = this.#next + count;
    const client = async (): Promise<void> => {
      while (this.#next < end) await this.#placeOne(this.#next++);
    };
    await Promise.all(Array.from({ length: clients }, client));
  }

  async #placeOne(number: number): Promise<void> {
    const order = orderNo(number);
    for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
      await this.#serviceIsUp();
      const answer = await postOrder(this.#url, order).catch(() => undefined);
      if (answer) {
        this.#note(answer);
        return;
      }
      this.outcomes.unanswered += 1;
    }
    throw new Error(`Order ${number} was not answered, ${maxAttempts} times.`);
  }

  #note({ status, body }: Answer): void {
    if (status === 201) this.outcomes.placed.push(body.id);
    else if (status === 409 || status === 422) this.outcomes.refused[status] += 1;
    else throw new Error(`An order was answered with ${status}: ${JSON.stringify(body)}`);
  }
}

interface Answer {
  status: number;
  body: { id: string; error?: string };
}

export async function postOrder(url: string, order: unknown): Promise<Answer> {
  const response = await fetch(`${url}/orders`, { method: "POST", body: JSON.stringify(order) });
  return { status: response.status, body: (await response.json()) as Answer["body"] };
}

/** The customers take turns, and the clients with them: orders of one customer come from several clients at once. */
function orderNo(number: number): OrderRequest {
  const customerId = `customer-${number % customers}`;
  const items = [products[number % 3]!, products[(number + 1) % 3]!].map((sku) => ({ sku, quantity: 1 }));
  if (number % 7 === 3) items.push({ sku: soldOut, quantity: 1 });
  if (number % 11 === 5) items.push({ sku: unknown, quantity: 1 });
  if (number % 4 === 1) items.push({ sku: scarce, quantity: 1 });
  return { customerId, email: `${customerId}@mail.example`, items };
}
