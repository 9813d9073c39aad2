import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "./servers/binaries.js";
import { findEmbeddedPostgres } from "./servers/embedded-postgres.js";
import { findMysql, queryMysql, startMysql } from "./servers/mysql.js";
import { missingLines, offerMysql } from "./servers/offer.js";
import { findPostgres, queryPostgres, startPostgres } from "./servers/postgres.js";

const kinds = [
  { name: "postgresql", isThere: findPostgres() !== undefined, start: startPostgres, query: queryPostgres },
  { name: "mariadb", isThere: findMysql() !== undefined, start: startMysql, query: queryMysql },
];

for (const { name, isThere, start, query } of kinds) {
  describe.skipIf(!isThere)(`a private ${name} server`, () => {
    test("keeps its data over every way to go down, and leaves neither process nor folder when stopped", async () => {
      const server = await start();
      try {
        await query(server.url, "create table notes (mode varchar(20))");
        for (const mode of ["fast", "immediate", "kill"] as const) {
          await query(server.url, `insert into notes values ('${mode}')`);
          const before = server.pid;
          await server.halt(mode);
          expect(server.pid).toBeUndefined();
          await expect(query(server.url, "select 1")).rejects.toThrow(/ECONNREFUSED/);
          await server.start();
          expect(server.pid).not.toBe(before);
        }
        const rows = await query<{ mode: string }>(server.url, "select mode from notes");
        expect(rows.map((row) => row.mode).sort()).toEqual(["fast", "immediate", "kill"]);
      } finally {
        const { pid } = server;
        await server.stop();
        expect(isAlive(pid!)).toBe(false);
        expect(existsSync(server.folder)).toBe(false);
      }
      await server.stop();
      await expect(server.start()).rejects.toThrow("stopped for good");
    });

    test("is cleaned up when the process that started it is killed", async () => {
      const script = fileURLToPath(new URL("servers/start-and-wait.ts", import.meta.url));
      const parent = spawn(process.execPath, ["--import", "tsx", script, name], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const [line] = (await once(parent.stdout, "data")) as [Buffer];
      const { pid, folder } = JSON.parse(line.toString()) as { pid: number; folder: string };
      expect(isAlive(pid)).toBe(true);
      parent.kill("SIGKILL");
      await until(() => !isAlive(pid) && !existsSync(folder));
    });

    test("says why it does not start", async () => {
      const setting = name === "postgresql" ? "max_connections" : "no_such_setting";
      await expect(start({ settings: { [setting]: "many" } })).rejects.toThrow(
        new RegExp(`did not start: it ended with exit code \\d+[^]*${setting}`),
      );
    });

    test("takes settings of its own", async () => {
      const server = await start({ settings: { max_connections: "17" } });
      try {
        const statement =
          name === "postgresql" ? "show max_connections" : "select @@max_connections as max_connections";
        const [row] = await query<{ max_connections: string | number }>(server.url, statement);
        expect(Number(row!.max_connections)).toBe(17);
      } finally {
        await server.stop("immediate");
      }
    });
  });
}

const embedded = findEmbeddedPostgres();
test.skipIf(embedded === undefined)("the npm package's PostgreSQL takes the place of a missing one", async () => {
  const server = await startPostgres({ installation: { embedded: embedded! } });
  try {
    const [row] = await queryPostgres<{ sum: number }>(server.url, "select 1 + 1 as sum");
    expect(row!.sum).toBe(2);
  } finally {
    await server.stop("immediate");
  }
});

describe("findProgram", () => {
  let root = "";
  let options = { folders: [] as string[], companions: ["initdb"] };
  const program = (folder: string, name: string): void => {
    mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, folder, name), "#!/bin/sh\n", { mode: 0o755 });
  };
  beforeAll(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "carteiro-find-")));
    for (const version of ["9", "15", "13"]) {
      program(`lib/${version}/bin`, "postgres");
      program(`lib/${version}/bin`, "initdb");
    }
    program("alone", "postgres");
    mkdirSync(join(root, "path"));
    symlinkSync(join(root, "lib/13/bin/postgres"), join(root, "path/postgres"));
    options = { folders: [join(root, "lib/*/bin")], companions: ["initdb"] };
  });
  afterAll(() => rmSync(root, { recursive: true }));

  test("takes the newest version of a folder per version", () => {
    expect(findProgram(["postgres"], { ...options, path: "" })).toBe(join(root, "lib/15/bin/postgres"));
  });
  test("prefers PATH, and follows a link to find the companions", () => {
    expect(findProgram(["postgres"], { ...options, path: join(root, "path") })).toBe(join(root, "lib/13/bin/postgres"));
  });
  test("passes over a program without its companions", () => {
    expect(findProgram(["postgres"], { ...options, path: join(root, "alone") })).toBe(
      join(root, "lib/15/bin/postgres"),
    );
    expect(findProgram(["postgres"], { ...options, folders: [], path: join(root, "alone") })).toBeUndefined();
  });
});

describe("a missing database", () => {
  const offers = [
    { url: "postgres://…", flavour: "postgresql" as const, version: "15.6" },
    { missing: "MariaDB is missing: install it." },
  ];

  test("is told in one line", () => {
    expect(missingLines(offers, {})).toEqual(["MariaDB is missing: install it. Its tests are skipped."]);
    expect(missingLines(offers.slice(0, 1), { CI: "true" })).toEqual([]);
  });
  test("fails the run when CI is set", () => {
    expect(() => missingLines(offers, { CI: "true" })).toThrow(
      "CI is set, so no database may be missing. MariaDB is missing: install it.",
    );
  });
  test("is not looked for when an address is given: a wrong one fails", async () => {
    await expect(offerMysql({ CARTEIRO_TEST_MYSQL_URL: "mysql://root@127.0.0.1:1/mysql" })).rejects.toThrow(
      "ECONNREFUSED",
    );
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("The condition did not come true within 20 s.");
    await delay(20);
  }
}
