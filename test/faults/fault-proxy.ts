import { Socket } from "node:net";
import { startProxy } from "../support/proxy.js";

/**
 * What the proxy does to its links: `pass` hands everything on; `hold` keeps the bytes back, to go on with them later;
 * `swallow` loses all that comes, ends included, without a word: a link that is half open; `reset` cuts both ends off.
 */
export type Fault = "pass" | "hold" | "swallow" | "reset";

/** Stands between a client and a database server, and breaks the links in every way that a network knows. */
export interface FaultProxy {
  /** The server's address, by way of the proxy. */
  readonly url: string;
  /** Sockets of this process that lead here, and that nobody has closed. */
  readonly open: number;
  /** How many clients have come so far. */
  readonly accepted: number;
  /** Bytes that came from servers so far. */
  readonly answered: number;
  /**
   * From now on, for the links that there are and for those to come. Those that were swallowed stay dead when it passes
   * again: the server finds out that their client is gone, the client hears nothing.
   */
  set(fault: Fault): void;
  /** The same, from the moment at which a client sends this text, which is not handed on. */
  setAt(text: RegExp, fault: Fault): Promise<void>;
  close(): Promise<void>;
}

interface Link {
  client: Socket;
  server: Socket;
  isDead: boolean;
  held: (() => void)[];
}

export async function startFaultProxy(serverUrl: string): Promise<FaultProxy> {
  const links = new Set<Link>();
  let fault: Fault = "pass";
  let awaited: { text: RegExp; fault: Fault; met: () => void } | undefined;
  let accepted = 0;
  let answered = 0;

  const proxy = await startProxy(serverUrl, { allowHalfOpen: true }, (client, dial) => {
    accepted += 1;
    const server = dial();
    const link: Link = { client, server, isDead: fault === "swallow", held: [] };
    links.add(link);
    const onward = (to: Socket, work: () => void) => {
      if (fault === "hold") link.held.push(work);
      else if (!link.isDead && !to.destroyed) work();
    };
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on("data", (data: Buffer) => {
        if (from === client && awaited?.text.test(data.toString("latin1"))) {
          const { fault: next, met } = awaited;
          awaited = undefined;
          set(next);
          met();
        }
        onward(to, () => to.write(data));
      });
      from.on("end", () => onward(to, () => to.end()));
      from.on("error", () => onward(to, () => to.resetAndDestroy()));
    }
    client.on("close", () => forget(link));
    server.on("close", () => forget(link));
    server.on("data", (data) => (answered += data.length));
    if (fault === "reset") cut(link);
  });

  function forget(link: Link): void {
    if (link.client.closed && link.server.closed) links.delete(link);
  }

  function cut(link: Link): void {
    link.client.resetAndDestroy();
    link.server.resetAndDestroy();
  }

  function set(next: Fault): void {
    fault = next;
    for (const link of links) {
      if (fault === "swallow") link.isDead = true;
      else if (fault === "reset") cut(link);
      else if (fault === "pass" && link.isDead) link.server.resetAndDestroy();
      else if (fault === "pass") for (const work of link.held.splice(0)) work();
    }
  }

  return {
    url: proxy.url,
    get open() {
      const handles = (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles();
      return handles.filter((one) => one instanceof Socket && one.remotePort === proxy.port && !one.destroyed).length;
    },
    get accepted() {
      return accepted;
    },
    get answered() {
      return answered;
    },
    set,
    setAt: (text, next) => new Promise((met) => (awaited = { text, fault: next, met })),
    async close() {
      const closed = proxy.close();
      for (const link of links) cut(link);
      await closed;
    },
  };
}
