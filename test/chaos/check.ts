import type { Kind } from "./journal.js";

/** An order that was committed: the database's own word, whatever its writer was told. */
export interface CommittedOrder {
  id: string;
  lane: string;
  /** Its place among the orders of its lane, as they committed: 1, 2, 3, … */
  place: number;
  isNotified: boolean;
}

export interface DeliveryRun {
  order: string;
  kind: Kind;
  fence: number;
  startedAt: number;
  /** Where its process died in it: that moment. */
  endedAt: number;
  succeeded: boolean;
  pid: number;
  /** Its process was stopped by a signal meanwhile, and could not see that its lease ended. */
  wasFrozen: boolean;
}

/** What a chaos run showed. The lists name what is wrong; the numbers are what at least once allows. */
export interface Findings {
  runs: number;
  failed: number;
  /** Runs of a call that had succeeded before. */
  repeats: number;
  /** Runs that began beside, or after, one with a higher fence: a receiver that compares fences refuses them. */
  stale: number;
  /** Runs that were still going on when another began whose fence tells that it is the new one. */
  toldOverlaps: number;
  /** Of both, those whose process was not frozen: a few, where the machine has no time for it. */
  unexcused: number;
  lost: string[];
  phantoms: string[];
  inversions: string[];
  /** Two runs at one time under one lease. */
  overlaps: string[];
  /** Why the run shows nothing. */
  vain: string[];
}

export function check(orders: readonly CommittedOrder[], runs: readonly DeliveryRun[]): Findings {
  const findings: Findings = {
    ...{ runs: runs.length, failed: runs.filter((run) => !run.succeeded).length, repeats: 0, stale: 0 },
    ...{ toldOverlaps: 0, unexcused: 0, lost: [], phantoms: [], inversions: [], overlaps: [], vain: [] },
  };
  if (orders.length === 0) findings.vain.push("no order was committed");
  const known = new Map(orders.map((order) => [order.id, order]));
  const inTime = [...runs].sort((one, other) => one.startedAt - other.startedAt);
  const lines = new Map<string, DeliveryRun[]>();
  const delivered = new Set<string>();
  for (const run of inTime) {
    const call = `${run.kind} ${run.order}`;
    const order = known.get(run.order);
    if (!order || (run.kind === "notify" && !order.isNotified)) {
      findings.phantoms.push(`${call} by ${run.pid}`);
      continue;
    }
    if (delivered.has(call)) findings.repeats += 1;
    if (run.succeeded) delivered.add(call);
    // The runs that may not meet: of a lane, or of a single call.
    const line = run.kind === "publish" ? order.lane : call;
    const ofLine = lines.get(line);
    if (ofLine) ofLine.push(run);
    else lines.set(line, [run]);
  }
  for (const { id, isNotified } of orders) {
    if (!delivered.has(`publish ${id}`)) findings.lost.push(`publish ${id}`);
    if (isNotified && !delivered.has(`notify ${id}`)) findings.lost.push(`notify ${id}`);
  }
  for (const [line, ofLine] of lines) checkLine(line, ofLine, known, findings);
  return findings;
}

/**
 * A key goes on from its first unsettled call after a death: so an earlier place than the expected one is a repeat, from which
 * the order starts again, and a later one is an inversion.
 */
function checkLine(
  line: string,
  runs: readonly DeliveryRun[],
  orders: ReadonlyMap<string, CommittedOrder>,
  findings: Findings,
): void {
  let expected = 1;
  let newest: DeliveryRun | undefined;
  let busiest: DeliveryRun | undefined;
  const overtaken = new Set<DeliveryRun>();
  for (const run of runs) {
    const isStale = newest !== undefined && run.fence < newest.fence;
    if (busiest && run.startedAt < busiest.endedAt) {
      if (run.fence === busiest.fence) findings.overlaps.push(`${line}: ${shown(busiest)} and ${shown(run)}`);
      else overtaken.add(busiest);
    }
    if (!busiest || run.endedAt > busiest.endedAt) busiest = run;
    if (isStale) {
      findings.stale += 1;
      if (!run.wasFrozen) findings.unexcused += 1;
      continue;
    }
    newest = run;
    if (run.kind === "notify") continue;
    const { place } = orders.get(run.order)!;
    if (place > expected) findings.inversions.push(`${line}: ${shown(run)} at place ${place}, not ${expected}`);
    expected = run.succeeded ? place + 1 : place;
  }
  findings.toldOverlaps += overtaken.size;
  findings.unexcused += [...overtaken].filter((run) => !run.wasFrozen).length;
}

function shown({ order, fence, startedAt, endedAt, pid }: DeliveryRun): string {
  return `${order} (pid ${pid}, fence ${fence}, ${startedAt.toFixed(1)} to ${endedAt.toFixed(1)} ms)`;
}
