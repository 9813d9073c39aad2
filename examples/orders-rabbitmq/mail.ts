import { createTransport } from "nodemailer";
import type { Order } from "./order.js";
import { settings } from "./settings.js";

const transport = createTransport(settings.smtpUrl);

export interface MailOptions {
  /** The same for every attempt: mail programs show a message with a known Message-ID once. */
  id: string;
  date: Date;
  signal: AbortSignal;
}

/** Rejects unless the mail server has accepted the mail. */
export async function sendConfirmationMail(order: Order, { id, date, signal }: MailOptions): Promise<void> {
  await transport.sendMail({
    messageId: `<${id}@${settings.mailFrom.split("@")[1]}>`,
    from: settings.mailFrom,
    to: order.email,
    date,
    subject: `Your order no. ${order.number}`,
    headers: { "X-Order-Id": order.id },
    text: [
      `Thank you for your order ${order.id}:`,
      ...order.items.map(({ sku, quantity }) => `- ${quantity} × ${sku}`),
    ].join("\n"),
    signal,
  });
}
