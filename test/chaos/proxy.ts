import type { Socket } from "node:net";
import { startProxy } from "../support/proxy.js";

/** One connection of the application, on its way to the server. */
export interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
  /** The server's name for it, once it has told. */
  backend: number | undefined;
  isStalled: boolean;
}

/** What is done to a connection that is about to send its COMMIT. */
export type AtCommit = "cut before" | "cut after" | "kill";

/** Stands between the application and its database, and troubles their connections. */
export interface ChaosProxy {
  readonly url: string;
  /** Connections that are open now. */
  readonly links: readonly Link[];
  /** Nothing passes for a while, and then all of it. */
  stall(link: Link): void;
  flow(link: Link): void;
  /** The client is cut off at once; the server hears of it only then. */
  halfOpen(link: Link, ms: number): void;
  reset(link: Link): void;
  /** The next one that sends a COMMIT. */
  atNextCommit(what: AtCommit): void;
  close(): Promise<void>;
}

/** @param kill ends a connection on the server */
export async function startChaosProxy(serverUrl: string, kill: (backend: number) => void): Promise<ChaosProxy> {
  const { protocol } = new URL(serverUrl);
  const links = new Set<Link>();
  const orphans = new Set<Socket>();
  const atCommit: AtCommit[] = [];

  const proxy = await startProxy(serverUrl, { noDelay: true }, (client, dial) => {
    const upstream = dial();
    const link: Link = { client, upstream, backend: undefined, isStalled: false };
    let isAnswerLost = false;
    links.add(link);
    client.on("error", () => undefined);
    upstream.on("error", () => undefined).on("close", () => orphans.delete(upstream));
    for (const socket of [client, upstream]) {
      socket.on("close", () => {
        links.delete(link);
        client.destroy();
        if (!orphans.has(upstream)) upstream.destroy();
      });
    }
    client.on("data", (data) => {
      const what = data.includes("COMMIT") ? atCommit.pop() : undefined;
      if (what === "cut before") return reset(link);
      isAnswerLost ||= what === "cut after";
      if (what === "kill" && link.backend !== undefined) kill(link.backend);
      if (orphans.has(upstream)) return;
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      link.backend ??= backendOf(protocol, data);
      if (isAnswerLost) reset(link);
      else if (!client.destroyed) client.write(data);
    });
  });

  const reset = ({ client, upstream }: Link) => {
    client.resetAndDestroy();
    upstream.destroy();
  };
  const pass = (link: Link, isStalled: boolean) => {
    link.isStalled = isStalled;
    for (const socket of [link.client, link.upstream]) {
      if (isStalled) socket.pause();
      else socket.resume();
    }
  };
  return {
    url: proxy.url,
    get links() {
      return [...links];
    },
    stall: (link) => pass(link, true),
    flow: (link) => pass(link, false),
    halfOpen(link, ms) {
      orphans.add(link.upstream);
      link.client.resetAndDestroy();
      setTimeout(() => link.upstream.destroy(), ms).unref();
    },
    reset,
    atNextCommit: (what) => void atCommit.push(what),
    async close() {
      const closed = proxy.close();
      for (const link of links) reset(link);
      for (const orphan of orphans) orphan.destroy();
      await closed;
    },
  };
}

/** From the first that a server says: PostgreSQL's BackendKeyData, MySQL's greeting. */
function backendOf(protocol: string, data: Buffer): number | undefined {
  if (protocol.startsWith("mysql")) {
    const endOfVersion = data.indexOf(0, 5);
    return endOfVersion === -1 || data.length < endOfVersion + 5 ? undefined : data.readUInt32LE(endOfVersion + 1);
  }
  for (let at = 0; at + 5 <= data.length; at += 1 + data.readUInt32BE(at + 1)) {
    if (data[at] === "K".charCodeAt(0) && at + 9 <= data.length) return data.readUInt32BE(at + 5);
  }
  return undefined;
}
