import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A second process of a contender. */
export interface Assistant<Order, Report> {
  /** What it reports next. */
  next(): Promise<Report>;
  tell(order: Order): void;
  close(): Promise<void>;
}

/** Starts `assistants/<file>.js`, in which `assist` is at work; resolves once that has said that it is ready. */
export async function startAssistant<Order, Report>(file: string, args: readonly string[]) {
  const script = fileURLToPath(new URL(`../assistants/${file}.js`, import.meta.url));
  const child = fork(script, args, { execArgv: ["--expose-gc"] });
  const reports: Report[] = [];
  let onReport: (report: Report) => void = (report) => reports.push(report);
  const next = () =>
    new Promise<Report>((resolve) => {
      const waiting = reports.shift();
      if (waiting !== undefined) return resolve(waiting);
      onReport = (report) => {
        onReport = (later) => reports.push(later);
        resolve(report);
      };
    });
  child.on("message", (report) => onReport(report as Report));
  // A contender without its assistant would wait for ever.
  const died = (code: number | null) => {
    console.error(`${file} ended (${code})`);
    process.exit(1);
  };
  child.on("exit", died);
  const assistant: Assistant<Order, Report> = {
    next,
    tell: (one) => void child.send(one as object),
    async close() {
      child.off("exit", died);
      const isOver = once(child, "exit");
      child.disconnect();
      await isOver;
    },
  };
  await next();
  return assistant;
}

/** The assistant's side: ends its process with the contender's. */
export function assist<Order, Report>(
  obey: (order: Order, report: (report: Report) => void) => unknown,
  close: () => Promise<unknown>,
): (report: Report) => void {
  const report = (one: Report) => void process.send!(one);
  process.on("message", (order) => void obey(order as Order, report));
  process.on("disconnect", () => void close().finally(() => process.exit(0)));
  process.send!({ isReady: true });
  return report;
}
