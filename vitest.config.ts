import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (file: string) => fileURLToPath(new URL(file, import.meta.url));

export default defineConfig({
  resolve: {
    // Examples import the package by its name; their tests run them against the source.
    alias: [
      { find: /^carteiro$/, replacement: source("src/index.ts") },
      { find: /^carteiro\/pglite$/, replacement: source("src/pglite.ts") },
      { find: /^carteiro\/migrations$/, replacement: source("migrations/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/global-setup.ts"],
    setupFiles: ["test/setup.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
