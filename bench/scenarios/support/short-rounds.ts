/** Short, and many: what else the machine does comes in bursts, which a long round would give to one contender alone. */
export const SHORT_ROUNDS = { roundMs: 1000, rounds: 15 };
