import { randomUUID } from "node:crypto";
import type { Knex } from "knex";
import { isOutOfStock } from "./database.js";
import { type Item, type Order, OrderRefused, type OrderRequest } from "./order.js";
import { outbox, publishOrder, sendConfirmation } from "./outbox.js";

/**
 * Stores an order and the two calls that follow from it in one transaction: either all of them are there, or none is.
 *
 * @throws {OrderRefused} a product does not exist, or there is not enough of it
 */
export function placeOrder(request: OrderRequest): Promise<Order> {
  return outbox.transaction(async (trx) => {
    const order: Order = {
      ...request,
      id: randomUUID(),
      number: await nextNumber(trx, request.customerId),
      placedAt: new Date(),
    };
    await trx("orders").insert({
      id: order.id,
      customer_id: order.customerId,
      number: order.number,
      email: order.email,
      items: JSON.stringify(order.items),
      placed_at: order.placedAt,
    });
    await publishOrder(order);
    await sendConfirmation(order);
    // Products are shared by all customers: their rows are locked last, and so for the shortest time.
    await takeFromStock(trx, order.items);
    return order;
  });
}

/** The customer's row stays locked until the commit, so that the numbers have neither gaps nor repetitions. */
async function nextNumber(trx: Knex.Transaction, customerId: string): Promise<number> {
  const [customer] = await trx("customers")
    .insert({ id: customerId, last_order: 1 })
    .onConflict("id")
    .merge({ last_order: trx.raw("customers.last_order + 1") })
    .returning<{ last_order: number }[]>("last_order");
  return customer!.last_order;
}

/** In one order for all, so that two orders of the same products can't wait for each other. */
async function takeFromStock(trx: Knex.Transaction, items: Item[]): Promise<void> {
  for (const { sku, quantity } of items.toSorted((a, b) => (a.sku < b.sku ? -1 : 1))) {
    try {
      const found = await trx("products").where({ sku }).decrement("stock", quantity);
      if (found === 0) throw new OrderRefused(422, `there is no product ${sku}`);
    } catch (error) {
      if (isOutOfStock(error)) throw new OrderRefused(409, `not enough of ${sku}`, { cause: error });
      throw error;
    }
  }
}
