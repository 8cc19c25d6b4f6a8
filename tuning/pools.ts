import { UserError } from "./errors.ts";
import { type Hardware } from "./hardware.ts";

/**
 * The guide's pool formula (Performance › Connection Pool Tuning): cores × 2 + spindles, for SSD cores × 4.
 * Connections, a whole number from 1.
 */
export function suggestedPoolSize({ cpus, storage }: Pick<Hardware, "cpus" | "storage">): number {
  return Math.max(1, Math.floor(storage.kind === "ssd" ? cpus * 4 : cpus * 2 + storage.spindles));
}

/** A pool that opens connections on one PostgreSQL server. */
export interface ServerPool {
  readonly name: string;
  readonly connections: number;
}

/**
 * Refuses pools that together could open more connections than the server gives to clients (max_connections less
 * those reserved for superusers). Throws a UserError with the sum.
 */
export function checkPools(pools: readonly ServerPool[], maxConnections: number, reservedConnections = 3): void {
  const sum = pools.reduce((total, pool) => total + pool.connections, 0);
  const available = maxConnections - reservedConnections;
  if (sum <= available) return;
  const list = pools.map((pool) => `${pool.name} ${pool.connections}`).join(" + ");
  throw new UserError(
    `the pools may open ${sum} connections (${list}), but PostgreSQL gives clients ${available} ` +
      `(max_connections ${maxConnections}, ${reservedConnections} reserved)`,
    "make the pools smaller or raise cgraph:maxConnections",
  );
}
