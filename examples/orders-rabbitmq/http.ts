import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { json } from "node:stream/consumers";
import { checkHealth } from "./database.js";
import { logger } from "./logger.js";
import { OrderRefused, parseOrderRequest } from "./order.js";
import { placeOrder } from "./place-order.js";

const MAX_BODY_BYTES = 64 * 1024;

interface Answer {
  status: number;
  body: object;
}

export function createOrderServer(): Server {
  const server = createServer((request, response) => {
    void answer(request).then(({ status, body }) => {
      // A server that is stopping lets its clients go.
      if (!server.listening) response.setHeader("connection", "close");
      send(response, status, body);
    });
  });
  return server;
}

async function answer(request: IncomingMessage): Promise<Answer> {
  try {
    return await route(request);
  } catch (error) {
    if (error instanceof OrderRefused) return { status: error.status, body: { error: error.message } };
    logger.error({ err: error, method: request.method, url: request.url }, "a request failed");
    return { status: 500, body: { error: "internal error" } };
  }
}

async function route(request: IncomingMessage): Promise<Answer> {
  switch (`${request.method} ${request.url}`) {
    case "POST /orders": {
      const order = await placeOrder(parseOrderRequest(await readJson(request)));
      return { status: 201, body: order };
    }
    case "GET /healthz":
      // The broker has no part in it: orders are taken, and published later, while it is away.
      await checkHealth();
      return { status: 200, body: { status: "ok" } };
    default:
      return { status: 404, body: { error: "not found" } };
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  if (!(Number(request.headers["content-length"]) <= MAX_BODY_BYTES)) {
    throw new OrderRefused(400, `the body needs a content-length of at most ${MAX_BODY_BYTES} bytes`);
  }
  try {
    return await json(request);
  } catch (error) {
    throw new OrderRefused(400, "the body is not JSON", { cause: error });
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
