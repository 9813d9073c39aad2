/** Everything that differs from one installation to the next, from environment variables. */
export const settings = {
  databaseUrl: required("DATABASE_URL"),
  amqpUrl: process.env.AMQP_URL ?? "amqp://localhost",
  smtpUrl: process.env.SMTP_URL ?? "smtp://localhost:1025",
  mailFrom: process.env.MAIL_FROM ?? "shop@shop.example",
  /** (Default: every address of this machine) */
  host: process.env.HOST,
  port: Number(process.env.PORT ?? 3000),
  /** How long the calls of a process that died wait for another one. */
  lease: process.env.OUTBOX_LEASE ?? "60s",
};

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; see README.md for the environment variables`);
  return value;
}
