import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PGlite } from "@electric-sql/pglite";

/**
 * An empty PGlite in memory. Its first start initialises a whole data folder, which takes seconds; loading the image of
 * one takes a quarter of that, so an image is kept below `node_modules` for the PGlite version in use.
 */
export async function createPGlite(): Promise<PGlite> {
  const image = readImage();
  if (image) return PGlite.create({ loadDataDir: new Blob([image]) });
  const pglite = await PGlite.create();
  keepImage(Buffer.from(await (await pglite.dumpDataDir("none")).arrayBuffer()));
  return pglite;
}

const cacheFolder = fileURLToPath(new URL("../../node_modules/.cache/carteiro", import.meta.url));

function imageFile(): string {
  const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  const { version } = JSON.parse(readFileSync(join(dirname(entry), "../package.json"), "utf8")) as { version: string };
  return join(cacheFolder, `pglite-${version}.tar`);
}

function readImage(): Buffer<ArrayBuffer> | undefined {
  try {
    return readFileSync(imageFile());
  } catch {
    return undefined;
  }
}

function keepImage(image: Buffer): void {
  const unfinished = join(cacheFolder, randomUUID());
  try {
    mkdirSync(cacheFolder, { recursive: true });
    writeFileSync(unfinished, image);
    renameSync(unfinished, imageFile());
  } catch {
    // A read-only checkout goes without: every start is then a slow one.
  }
}
