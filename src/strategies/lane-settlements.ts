import { Batches } from "../run/batches.js";
import type { LaneSettlement } from "./lane-parts.js";
import type { LineCursor } from "./line-cursor.js";
import type { StreamSettler } from "./stream-settler.js";

/** Has written down, many at once, what became of the calls of lanes; and tells them, and who reads the line, when that is done. */
export class LaneSettlements {
  readonly #settler: StreamSettler;
  readonly #cursor: LineCursor;
  readonly #batches: Batches<LaneSettlement>;

  /** @param inTurn keeps what is read of the table apart from what is written to it */
  constructor(settler: StreamSettler, cursor: LineCursor, inTurn: (work: () => Promise<void>) => Promise<void>) {
    this.#settler = settler;
    this.#cursor = cursor;
    this.#batches = new Batches((outcomes) => inTurn(() => this.#settle(outcomes)));
  }

  add(outcome: LaneSettlement): void {
    if (outcome.settlement.kind === "hold") this.#cursor.hold(outcome.lane.name);
    this.#batches.add(outcome);
  }

  async #settle(outcomes: readonly LaneSettlement[]): Promise<void> {
    const settled = await this.#settler.settle(outcomes);
    outcomes.forEach((outcome, index) => {
      this.#leaveLine(outcome);
      outcome.lane.settled(outcome, settled[index] ?? false);
    });
  }

  #leaveLine({ lane, settlement }: LaneSettlement): void {
    if (settlement.kind === "hold") {
      this.#cursor.leave(settlement.head.seq);
      this.#cursor.held(lane.name);
    } else if ("seq" in settlement && settlement.kind !== "begin-suspect") this.#cursor.leave(settlement.seq);
  }
}
