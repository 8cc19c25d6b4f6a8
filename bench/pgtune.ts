/**
 * pgtune's formulas, for comparison only. Written anew from what https://pgtune.leopard.in.ua publishes (repository
 * le0pard/pgtune, src/features/configuration, version of 2026-06-09), for one case: type OLTP on Linux with an SSD, its
 * database size left at "about the memory's", PostgreSQL 15 to 17.
 */

export interface PgtuneInput {
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly connections: number;
}

const KIB_PER_MIB = 1024;
const GiB_IN_KIB = 1024 * KIB_PER_MIB;

/** wal_buffers in kB: 3 % of shared_buffers, from 32 kB to 16 MB, and 16 MB as soon as it comes near (14 MB). */
function walBuffersKiB(sharedBuffersKiB: number): number {
  const share = Math.floor(sharedBuffersKiB * 0.03);
  return share > 14 * KIB_PER_MIB ? 16 * KIB_PER_MIB : Math.max(share, 32);
}

/** pgtune names parallel workers only from four CPUs on; below that PostgreSQL's defaults stay. */
function parallel(cpus: number): Record<string, string> {
  if (cpus < 4) return {};
  const half = Math.min(Math.ceil(cpus / 2), 4);
  return {
    max_worker_processes: `${cpus}`,
    max_parallel_workers_per_gather: `${half}`,
    max_parallel_workers: `${cpus}`,
    max_parallel_maintenance_workers: `${half}`,
  };
}

/** The settings that pgtune prints for this hardware, as text for postgresql.conf. */
export function pgtuneOltp({ cpus, memoryMiB, connections }: PgtuneInput): Record<string, string> {
  const memoryKiB = memoryMiB * KIB_PER_MIB;
  const sharedBuffers = Math.floor(memoryKiB / 4);
  const maintenance = Math.min(Math.floor(memoryKiB / 16), 8 * GiB_IN_KIB);
  const workers = parallel(cpus);
  // Where it prints no max_worker_processes it reckons with PostgreSQL's default of 8.
  const processes = Number(workers["max_worker_processes"] ?? 8);
  const workMem = Math.max(Math.floor((memoryKiB - sharedBuffers) / ((connections + processes) * 3)), 4 * KIB_PER_MIB);
  return {
    max_connections: `${connections}`,
    shared_buffers: `${sharedBuffers}kB`,
    effective_cache_size: `${Math.floor((memoryKiB * 3) / 4)}kB`,
    maintenance_work_mem: `${maintenance}kB`,
    checkpoint_completion_target: "0.9",
    wal_buffers: `${walBuffersKiB(sharedBuffers)}kB`,
    default_statistics_target: "100",
    random_page_cost: "1.1",
    effective_io_concurrency: "200",
    work_mem: `${workMem}kB`,
    huge_pages: sharedBuffers >= 2 * GiB_IN_KIB ? "try" : "off",
    min_wal_size: "2GB",
    max_wal_size: "8GB",
    jit: "off",
    wal_compression: "lz4",
    ...(maintenance >= 2 * GiB_IN_KIB ? { autovacuum_work_mem: `${2 * GiB_IN_KIB}kB` } : {}),
    ...(cpus >= 16 ? { autovacuum_max_workers: cpus >= 32 ? "5" : "4" } : {}),
    ...workers,
  };
}
