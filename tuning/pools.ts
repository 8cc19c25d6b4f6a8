import { UserError } from "./errors.ts";
import { type Hardware } from "./hardware.ts";

/**
 * The guide's pool formula (Performance › Connection Pool Tuning): cores × 2 + spindles, for SSD cores × 4.
 * Connections, a whole number from 1.
 */
export function suggestedPoolSize({ cpus, storage }: Pick<Hardware, "cpus" | "storage">): number {
  return Math.max(1, Math.floor(storage.kind === "ssd" ? cpus * 4 : cpus * 2 + storage.spindles));
}

/** superuser_reserved_connections. */
const RESERVED_CONNECTIONS = 3;

/** A pool that opens connections on one PostgreSQL server. */
export interface ServerPool {
  readonly name: string;
  readonly connections: number;
}

/**
 * Refuses pools that together could open more connections than the server gives to clients (max_connections less
 * those reserved for superusers). Throws a UserError with the sum.
 */
export function checkPools(
  pools: readonly ServerPool[],
  maxConnections: number,
  reservedConnections = RESERVED_CONNECTIONS,
): void {
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

/** The largest size of so many equal pools, each with its reserve, that fits beside direct connections; at least 1. */
export function poolSizeThatFits(request: {
  readonly pools: number;
  readonly reserveSize: number;
  readonly directConnections: number;
  readonly maxConnections: number;
}): number {
  const { pools, reserveSize, directConnections, maxConnections } = request;
  return Math.max(1, Math.floor((maxConnections - RESERVED_CONNECTIONS - directConnections) / pools) - reserveSize);
}

export interface PoolRequest {
  /** PgBouncer processes; each has a pool that writes and one that reads. */
  readonly instances: number;
  readonly wantedSize: number;
  /** Whether the pools may be made smaller than wanted where max_connections does not carry them. */
  readonly mayShrink: boolean;
  /** Connections that a pool opens beside its own when clients have to wait. */
  readonly reserveSize: number;
  /** Connections that are left to clients that bypass the pools. */
  readonly directConnections: number;
  readonly maxConnections: number;
}

/**
 * The size of each pool, so that all of them together fit on one server: when no replica serves, reads go to the
 * primary too. Throws a UserError with the sum where they do not fit.
 */
export function planPool(request: PoolRequest): { instances: number; poolSize: number; reserveSize: number } {
  const { instances, reserveSize, directConnections, maxConnections } = request;
  const room = poolSizeThatFits({ ...request, pools: 2 * instances });
  const poolSize = request.mayShrink ? Math.min(request.wantedSize, room) : request.wantedSize;
  checkPools(
    [
      { name: `${instances} × writes`, connections: instances * (poolSize + reserveSize) },
      {
        name: `${instances} × reads (on the primary when no replica serves)`,
        connections: instances * (poolSize + reserveSize),
      },
      { name: "direct", connections: directConnections },
    ],
    maxConnections,
  );
  return { instances, poolSize, reserveSize };
}
