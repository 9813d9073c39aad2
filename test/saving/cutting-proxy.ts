import type { Socket } from "node:net";
import { startProxy } from "../support/proxy.js";

/** Stands between a client and a database server, and cuts a connection at its COMMIT. */
export interface CuttingProxy {
  /** The server's address, by way of the proxy. */
  readonly url: string;
  /** The next connection that sends a COMMIT is cut before the server gets it, or before its answer gets back. */
  cutNextCommit(when: "before" | "after"): void;
  close(): Promise<void>;
}

export async function startCuttingProxy(serverUrl: string): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let cut: "before" | "after" | undefined;

  const proxy = await startProxy(serverUrl, {}, (client, dial) => {
    const upstream = dial();
    let isAnswerAwaited = false;
    const end = () => [client, upstream].forEach((socket) => socket.destroy());
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", end).on("close", () => {
        sockets.delete(socket);
        end();
      });
    }
    client.on("data", (data) => {
      const cutHere = data.includes("COMMIT") ? cut : undefined;
      if (cutHere !== undefined) cut = undefined;
      if (cutHere === "before") return end();
      isAnswerAwaited = cutHere === "after";
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (isAnswerAwaited) end();
      else client.write(data);
    });
  });
  return {
    url: proxy.url,
    cutNextCommit: (when) => (cut = when),
    async close() {
      const closed = proxy.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
