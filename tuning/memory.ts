import { UserError } from "./errors.ts";
import { type Settings, baseValue } from "./setting.ts";

const MiB = 1024 * 1024;

/** Private memory of a client backend that is not work_mem: caches of the catalogue, plans, stack. Measured 2 to 5 MiB. */
export const BACKEND_MIB = 4;
/** The server's own processes, loaded libraries, and a page cache that is not nothing. */
const BASE_MIB = 48;

/** How many connections a server of this memory carries beside its shared buffers: one for each 20 MiB, at least 10. */
export function fittingMaxConnections(memoryMiB: number): number {
  return Math.max(10, Math.floor(memoryMiB / 20));
}

/** Memory in MiB that a server uses when it is busy, part by part. */
export interface MemoryBudget {
  readonly sharedBuffersMiB: number;
  readonly walBuffersMiB: number;
  /** Every allowed connection open, each with its private memory. */
  readonly backendsMiB: number;
  /** A quarter of the connections sorting or hashing at once, each with one work_mem. */
  readonly workMemMiB: number;
  /** All autovacuum workers at work. */
  readonly autovacuumMiB: number;
  /** One index build or manual vacuum. */
  readonly maintenanceMiB: number;
  readonly totalMiB: number;
}

function mib(settings: Settings, name: string): number {
  const setting = settings[name];
  return setting ? Number(baseValue(setting)) / MiB : 0;
}
const count = (settings: Settings, name: string): number => Number(settings[name]?.value ?? 0);

/** Adds up what a server with these settings needs when it is busy. */
export function memoryBudget(settings: Settings): MemoryBudget {
  const connections = count(settings, "max_connections");
  const parts = {
    sharedBuffersMiB: mib(settings, "shared_buffers"),
    walBuffersMiB: mib(settings, "wal_buffers"),
    backendsMiB: connections * BACKEND_MIB,
    workMemMiB: Math.ceil(connections / 4) * mib(settings, "work_mem"),
    autovacuumMiB: count(settings, "autovacuum_max_workers") * mib(settings, "autovacuum_work_mem"),
    maintenanceMiB: mib(settings, "maintenance_work_mem"),
  };
  return { ...parts, totalMiB: BASE_MIB + Object.values(parts).reduce((sum, part) => sum + part, 0) };
}

/** Refuses settings whose memory adds up to more than the server has. Throws a UserError with the sum, part by part. */
export function checkMemory(settings: Settings, memoryMiB: number): void {
  const budget = memoryBudget(settings);
  if (budget.totalMiB <= memoryMiB) return;
  const parts = [
    `shared_buffers ${budget.sharedBuffersMiB}`,
    `wal_buffers ${budget.walBuffersMiB}`,
    `${count(settings, "max_connections")} connections ${budget.backendsMiB}`,
    `work_mem of a quarter of them ${budget.workMemMiB}`,
    `autovacuum ${budget.autovacuumMiB}`,
    `maintenance_work_mem ${budget.maintenanceMiB}`,
    `the server itself ${BASE_MIB}`,
  ];
  throw new UserError(
    `the settings need ${Math.ceil(budget.totalMiB)} MiB when busy, but the server has ${memoryMiB} MiB (${parts.join(" + ")})`,
    "lower max_connections or work_mem, or give the server more memory",
  );
}
