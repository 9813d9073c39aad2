/** Puts objects that were met more than once, or inside themselves, back in each of their places. */
import { Placeholder } from "./carried.js";
import { type StoredPath } from "./place.js";
import { type Reference } from "./stored.js";

/** @throws {Error} a reference that leads to nothing */
export function resolveReferences(args: unknown[], references: readonly Reference[]): void {
  const graph = new Graph(args);
  // All are looked up before any is put in place: a path must not lead through what another reference brought.
  const resolved = references.map(({ at, to }) => ({ ...graph.findPlaceholder(at), target: graph.findTarget(to) }));
  for (const { container, step, target } of resolved) container[step] = target;
  graph.rebuildCollections();
}

type Container = Record<string | number, unknown>;

class Graph {
  private readonly root: unknown[];
  /** The entries of Maps and Sets, by number; each Map and Set is filled from these again. */
  private readonly collections = new Map<Map<unknown, unknown> | Set<unknown>, unknown[]>();

  constructor(root: unknown[]) {
    this.root = root;
  }

  findPlaceholder(path: StoredPath): { container: Container; step: string | number } {
    const container = this.find(path.slice(0, -1)) as Container;
    const step = path.at(-1)!;
    if (this.step(container, step) instanceof Placeholder) return { container, step };
    throw new Error("a reference is where none belongs");
  }

  findTarget(path: StoredPath): object {
    const parent = this.find(path.slice(0, -1));
    const target = path.length === 0 ? this.root : this.step(parent, path.at(-1)!);
    if (typeof target === "object" && target !== null && !(target instanceof Placeholder)) return target;
    throw new Error("a reference leads to no object");
  }

  rebuildCollections(): void {
    for (const [collection, entries] of this.collections) {
      collection.clear();
      if (collection instanceof Set) for (const item of entries) collection.add(item);
      else for (const [key, value] of entries as [unknown, unknown][]) collection.set(key, value);
    }
  }

  /** Of a Map or a Set, its entries. */
  private find(path: StoredPath): unknown {
    let node = this.open(this.root);
    for (const step of path) node = this.open(this.step(node, step));
    return node;
  }

  private step(node: unknown, step: string | number): unknown {
    if (typeof node === "object" && node !== null) {
      const isElement = Array.isArray(node) === (typeof step === "number");
      if (isElement && Object.hasOwn(node, step)) return (node as Container)[step];
    }
    throw new Error("a reference leads to nothing");
  }

  private open(node: unknown): unknown {
    if (!(node instanceof Map) && !(node instanceof Set)) return node;
    let entries = this.collections.get(node);
    if (entries === undefined) this.collections.set(node, (entries = Array.from<unknown>(node)));
    return entries;
  }
}
