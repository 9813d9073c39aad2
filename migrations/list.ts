import { calls } from "./001-calls.js";
import { leases } from "./003-leases.js";
import { operations } from "./002-operations.js";
import type { Migration } from "./migration.js";

/** Every migration, in order. */
export const migrations: readonly Migration[] = [calls, operations, leases];
