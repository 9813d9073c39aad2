import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../support/waiting.js";
import { describeEachPrivateServer, type PrivateServer } from "./private-servers.js";
import { Shop } from "./shop.js";
import { mountSmallDisk, type SmallDisk, whyNoSmallDisk } from "./small-disk.js";

/** What the databases say: disk_full, and ER_RECORD_FILE_FULL. */
const FULL = { pg: { code: "53100" }, mysql2: { errno: 1114 } };
const MEGABYTES = 32;

const reason = whyNoSmallDisk();
if (reason !== undefined) {
  if (process.env["CI"]) throw new Error(`CI is set, so nothing may be missing: ${reason}`);
  console.warn(`A full disk is not tested: ${reason}`);
}

describe.skipIf(reason !== undefined)("a full disk", () => {
  describeEachPrivateServer("under the tables", (under) => {
    let disk: SmallDisk | undefined;
    let shop: Shop;
    let url: string;

    beforeAll(async () => {
      disk = await smallDatabase(under);
      url = Object.assign(new URL(under.server.url), { pathname: "/small" }).href;
    });
    afterEach(async () => {
      disk!.free();
      if (under.server.pid === undefined) await under.server.start();
      await shop.close();
    });
    afterAll(async () => {
      await under.server.halt("immediate");
      disk?.unmount();
    });

    it("refuses saves with the database's error, and loses nothing that was stored", { timeout: 120_000 }, async () => {
      const knex = under.pool({ connection: url });
      shop = new Shop(knex, { lease: 1000 });
      await shop.open();
      const ran: number[] = [];
      const large = shop.outbox.saveToOutbox(async (n: number, _text: string) => void ran.push(n), {
        name: "large",
        stream: "large",
        strategy: "keep-order",
      });
      const text = "x".repeat(4000);
      for (let id = 1; id <= 20; id++) await shop.order("a", id);
      let stored = 0;
      const store = async (most: number) => {
        while (stored < most) {
          await shop.outbox.transaction(async (trx) => {
            await trx("orders").insert({ id: 1001 + stored });
            await large(stored + 1, text);
          });
          stored += 1;
        }
      };
      await store(20);
      disk!.fill();
      await expect(store(Infinity)).rejects.toMatchObject(FULL[under.client]);
      expect(await knex("orders").where("id", ">", 1000)).toHaveLength(stored);

      const logged = shop.log.length;
      shop.startRelayers();
      await until("relayers tell, or all has run", () => shop.relayerErrors.length >= 6 || ran.length === stored);
      if (ran.length < stored) shop.expectEverLonger(logged);

      disk!.free();
      if (under.server.pid === undefined) await under.server.start();
      await until("a save works again", () =>
        shop.order("a", 21).then(
          () => true,
          () => false,
        ),
      );
      await until("all that was stored has run", () => new Set(ran).size === stored);
      expect([...new Set(ran)]).toEqual(Array.from({ length: stored }, (_, index) => index + 1));
      await knex("orders").where("id", ">", 1000).delete();
      await shop.expectAllRan();
    });
  });
});

/** A database `small` whose tables are on a disk of its own; the server's log and journal are not. */
async function smallDatabase({ client, server, ask }: PrivateServer): Promise<SmallDisk> {
  if (client === "mysql2") return mountSmallDisk(join(server.dataDir, "small"), MEGABYTES);
  const disk = mountSmallDisk(join(server.folder, "small"), MEGABYTES);
  await ask(`create tablespace small location '${disk.folder}'`);
  await ask("create database small tablespace small");
  return disk;
}
