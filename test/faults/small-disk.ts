import { execFileSync } from "node:child_process";
import { chownSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A file system of its own in memory, which a test fills to the last byte. */
export interface SmallDisk {
  readonly folder: string;
  fill(): void;
  free(): void;
  unmount(): void;
}

/** Mounts one at `folder`, for whoever owns the folder above it. */
export function mountSmallDisk(folder: string, megabytes: number): SmallDisk {
  mkdirSync(folder);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}M`, "carteiro-test", folder], { stdio: "pipe" });
  const { uid, gid } = statSync(dirname(folder));
  chownSync(folder, uid, gid);
  const filler = join(folder, "filler");
  return {
    folder,
    fill() {
      const file = openSync(filler, "a");
      for (const size of [1 << 20, 4096, 1]) writeUntilFull(file, Buffer.alloc(size));
      closeSync(file);
    },
    free: () => rmSync(filler, { force: true }),
    unmount: () => void execFileSync("umount", ["--lazy", folder], { stdio: "pipe" }),
  };
}

function writeUntilFull(file: number, bytes: Buffer): void {
  for (;;) {
    try {
      writeSync(file, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") return;
      throw error;
    }
  }
}

/** @returns why this process may not mount one; undefined where it may */
export function whyNoSmallDisk(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "carteiro-disk-"));
  try {
    mountSmallDisk(join(folder, "disk"), 1).unmount();
    return undefined;
  } catch (error) {
    return `a small disk could not be mounted, which takes root: ${(error as Error).message.trim()}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
