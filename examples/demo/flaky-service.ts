import { setTimeout as pause } from "node:timers/promises";

export interface Message {
  to: string;
  subject: string;
}

/** One attempt to deliver a message, as the service saw it. */
export interface Delivery extends Message {
  /** The id of the call: the same in each of its attempts. */
  id: string;
  isAccepted: boolean;
  at: Date;
}

interface Refusal {
  times: number;
  error: (reason: string) => Error;
}

/** A service on the other side of a network: it takes its time, and refuses what it was told to refuse. */
export class FlakyService {
  readonly name: string;
  readonly latencyMs: number;
  readonly deliveries: Delivery[] = [];
  readonly #refusals = new Map<string, Refusal>();
  #onArrival: (() => Promise<void>) | undefined;

  constructor(name: string, latencyMs: number) {
    this.name = name;
    this.latencyMs = latencyMs;
  }

  /** What got through, in the order of arrival. */
  get accepted(): Delivery[] {
    return this.deliveries.filter(({ isAccepted }) => isAccepted);
  }

  /** The message will be refused so many times before it is accepted. */
  refuse(message: Message, times: number, error: Refusal["error"] = (reason) => new Error(reason)): void {
    this.#refusals.set(keyOf(message), { times, error });
  }

  /** Calls `look` when the next message has arrived, before it is accepted. */
  onNextArrival(look: () => Promise<void>): void {
    this.#onArrival = look;
  }

  async deliver({ to, subject }: Message, id: string): Promise<void> {
    await pause(this.latencyMs);
    const onArrival = this.#onArrival;
    this.#onArrival = undefined;
    await onArrival?.();

    const refusal = this.#refusals.get(keyOf({ to, subject }));
    const isAccepted = refusal === undefined || refusal.times === 0;
    this.deliveries.push({ to, subject, id, isAccepted, at: new Date() });
    if (isAccepted) return;
    refusal.times -= 1;
    throw refusal.error(`the ${this.name} hung up`);
  }
}

function keyOf({ to, subject }: Message): string {
  return `${to}: ${subject}`;
}
