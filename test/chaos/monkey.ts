import { setTimeout as delay } from "node:timers/promises";
import type { StopMode, TestServer } from "../support/servers/types.js";
import type { Company } from "./company.js";
import type { AtCommit, ChaosProxy, Link } from "./proxy.js";

export interface MonkeyParts {
  random: () => number;
  company: Company;
  proxy: ChaosProxy;
  server: TestServer;
  leaseMs: number;
  /** Ends a connection on the server. */
  kill: (backend: number) => void;
}

/** How often each thing was done. */
export type Mischief = Record<Deed, number>;

export type Deed =
  | "kill"
  | "freeze"
  | "restart fast"
  | "restart immediate"
  | "outage"
  | "kill connections"
  | "kill at COMMIT"
  | "cut before COMMIT"
  | "cut after COMMIT"
  | "reset"
  | "stall"
  | "half open";

/** What is dealt before anything comes twice: each as often as it stands here. */
const DECK: readonly Deed[] = [
  ...["kill", "kill", "kill", "freeze", "freeze", "restart fast", "restart immediate", "outage"],
  ...["kill connections", "kill at COMMIT", "kill at COMMIT", "cut before COMMIT", "cut after COMMIT"],
  ...["reset", "stall", "half open"],
] as Deed[];

const AT_COMMIT: Partial<Record<Deed, AtCommit>> = {
  "kill at COMMIT": "kill",
  "cut before COMMIT": "cut before",
  "cut after COMMIT": "cut after",
};

/** Does harm for a while, in an order that the random numbers decide; everything is well again when it resolves. */
export async function unleash(parts: MonkeyParts, ms: number): Promise<Mischief> {
  const { random } = parts;
  const done = Object.fromEntries(DECK.map((deed) => [deed, 0])) as Mischief;
  const until = performance.now() + ms;
  const later = new Set<Promise<void>>();
  for (let deck: Deed[] = []; performance.now() < until;) {
    if (deck.length === 0) deck = shuffled(DECK, random);
    const deed = deck.pop()!;
    const { now, afterwards } = perform(deed, parts);
    done[deed] += 1;
    const ending = (afterwards ?? Promise.resolve()).finally(() => later.delete(ending));
    later.add(ending);
    await now;
    await delay(200 + random() * 600);
  }
  await Promise.all(later);
  return done;
}

function perform(deed: Deed, parts: MonkeyParts): { now?: Promise<void>; afterwards?: Promise<void> } {
  const { random, company, proxy, server, leaseMs, kill } = parts;
  const some = (links: readonly Link[]) => links.filter(() => random() < 0.4);
  /** Longer than a lease, or shorter. */
  const whileMs = leaseMs * (0.3 + random() * 1.5);
  switch (deed) {
    case "kill": {
      const life = pick(company.alive, random);
      if (life) company.kill(life);
      return {};
    }
    case "freeze": {
      const awake = company.alive.filter(({ isFrozen }) => !isFrozen);
      const life = pick(awake, random);
      return life ? { afterwards: company.freeze(life, leaseMs * (1.1 + random())) } : {};
    }
    case "restart fast":
    case "restart immediate":
      return { now: server.restart(deed.split(" ")[1] as StopMode) };
    case "outage":
      return { now: outage(server, whileMs) };
    case "kill connections":
      for (const { backend } of some(proxy.links)) if (backend !== undefined) kill(backend);
      return {};
    case "kill at COMMIT":
    case "cut before COMMIT":
    case "cut after COMMIT":
      proxy.atNextCommit(AT_COMMIT[deed]!);
      return {};
    case "reset":
      for (const link of some(proxy.links)) proxy.reset(link);
      return {};
    case "half open":
      for (const link of some(proxy.links)) proxy.halfOpen(link, whileMs);
      return {};
    case "stall": {
      const links = some(proxy.links);
      for (const link of links) proxy.stall(link);
      const flow = () => {
        for (const link of links) proxy.flow(link);
      };
      return { afterwards: delay(whileMs).then(flow) };
    }
  }
}

/** A server that is away for longer than a restart takes: for as long as a lease, or two. */
async function outage(server: TestServer, ms: number): Promise<void> {
  await server.halt("immediate");
  await delay(ms);
  await server.start();
}

function pick<T>(from: readonly T[], random: () => number): T | undefined {
  return from[Math.floor(random() * from.length)];
}

function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((one) => ({ one, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one);
}
