/** The process of one contender: opens it, and does with it what the bench asks for. Compiled, as its users' code is. */
import type { Contender, OpenContender } from "./types.js";
import type { Answer, Request } from "./contender-process.js";

let contender: Contender | undefined;

process.on("message", (request: Request) => {
  void answer(request).then((reply) => process.send!(reply));
});
// The bench is gone: nobody asks any more.
process.on("disconnect", () => process.exit(0));

async function answer(request: Request): Promise<Answer> {
  try {
    return { metrics: await obey(request) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

async function obey(request: Request) {
  switch (request.do) {
    case "open": {
      const { open } = (await import(`../contenders/${request.file}.js`)) as { open: OpenContender<unknown> };
      contender = await open(request.ground, request.options);
      return {};
    }
    case "prepare":
      await contender!.prepare?.();
      // What the preparation left behind shall not be collected while it is measured.
      globalThis.gc?.();
      return {};
    case "measure":
      return contender!.measure();
    case "close":
      await contender?.close();
      return {};
  }
}
