import { once } from "node:events";
import type { Socket } from "node:net";
import { startProxy } from "../../support/proxy.js";
import { deferred } from "../../support/waiting.js";
import { answerOf, type Protocol, requestsOf } from "./wire.js";

/** The moment at which everything between a process and its database stops: at its n-th request. */
export interface Step {
  request: number;
  /** `before` the server gets it, or `after` the server has carried it out and before its client hears of it. */
  moment: "before" | "after";
}

/** All that one process, or one outbox, says to its database passes here. */
export interface SteppingProxy {
  /** The server's address, by way of the proxy. */
  readonly url: string;
  /** The request at which all stopped, as it was sent. */
  readonly request: string;
  /** Resolves at the step. From then on nothing passes, in either direction. */
  readonly stopped: Promise<void>;
  /** Resolves when the server has noticed that its clients are gone: nothing of theirs is carried out any more. */
  close(): Promise<void>;
}

export async function startSteppingProxy(serverUrl: string, protocol: Protocol, step?: Step): Promise<SteppingProxy> {
  const stopped = deferred();
  const upstreams = new Set<Socket>();
  const clients = new Set<Socket>();
  let requests = 0;
  let heldRequest = "";
  let isStopped = false;
  const stop = () => {
    isStopped = true;
    stopped.resolve();
  };

  const proxy = await startProxy(serverUrl, { noDelay: true }, (client, dial) => {
    clients.add(client);
    client.on("error", () => undefined).on("close", () => clients.delete(client));
    if (isStopped) return;
    const upstream = dial();
    upstreams.add(upstream);
    upstream.on("error", () => undefined);
    upstream.on("close", () => {
      upstreams.delete(upstream);
      if (!isStopped) client.destroy();
    });
    client.on("close", () => upstream.end());

    const cut = requestsOf(protocol);
    const isAnswered = answerOf(protocol);
    let isAnswerHeld = false;
    client.on("data", (data) => {
      for (const { bytes, isRequest } of cut(data)) {
        if (isStopped) return;
        if (isRequest) requests += 1;
        const isHere = isRequest && requests === step?.request;
        if (isHere) heldRequest = bytes.toString("latin1");
        if (isHere && step.moment === "before") return stop();
        isAnswerHeld ||= isHere;
        upstream.write(bytes);
      }
    });
    upstream.on("data", (data) => {
      const isAnswer = isAnswered(data);
      if (isStopped) return;
      if (!isAnswerHeld) client.write(data);
      else if (isAnswer) stop();
    });
  });
  return {
    url: proxy.url,
    get request() {
      return heldRequest;
    },
    stopped: stopped.promise,
    async close() {
      isStopped = true;
      const ends = [...upstreams].map((upstream) => {
        const closed = once(upstream, "close");
        upstream.end();
        return closed;
      });
      await Promise.all(ends);
      for (const client of clients) client.destroy();
      await proxy.close();
    },
  };
}
