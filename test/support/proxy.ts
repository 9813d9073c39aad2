import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type ServerOpts,
  type Socket,
  type TcpNetConnectOpts,
} from "node:net";

/** Stands between clients and a database server. */
export interface Proxy {
  /** The server's address, by way of the proxy. */
  readonly url: string;
  readonly port: number;
  /** Takes no more clients. Resolves once those that came are gone. */
  close(): Promise<void>;
}

/** @param serve joins a client to the server, which `dial` connects to */
export async function startProxy(
  serverUrl: string,
  options: ServerOpts & Omit<TcpNetConnectOpts, "port">,
  serve: (client: Socket, dial: () => Socket) => void,
): Promise<Proxy> {
  const target = new URL(serverUrl);
  const dial = () => connect({ ...options, port: Number(target.port), host: target.hostname });
  const listener = createServer(options, (client) => serve(client, dial));
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const url = new URL(serverUrl);
  url.hostname = "127.0.0.1";
  url.port = String(port);
  return {
    url: url.href,
    port,
    async close() {
      const closed = once(listener, "close");
      listener.close();
      await closed;
    },
  };
}
