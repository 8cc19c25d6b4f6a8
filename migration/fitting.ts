/** What of a stack in use would not fit a smaller stage any more. */
import { GUIDE, STAGES } from "../stacks/guide.ts";
import type { Picture } from "./picture.ts";

/** What is read from the servers. */
export interface UseFacts {
  readonly databaseBytes: number;
  /** Connections of clients at the moment. */
  readonly connections: number;
  /** Whether messages are in partitions by month. */
  readonly partitioned: boolean;
}

export interface Misfit {
  readonly what: string;
  readonly remedy: string;
}

const GB = 1e9;
const GIB = 1024 ** 3;
/** WAL, temporary files and what vacuum leaves need room beside the data. */
const DISK_SHARE = 0.85;

function sizeMisfits({ databaseBytes }: UseFacts, after: Picture): Misfit[] {
  const disk = after.servers[0]?.diskGiB ?? 0;
  const stage = STAGES.find((one) => one === after.stage);
  const most = stage === undefined ? null : GUIDE[stage].databaseSizeGB.value.max;
  const gb = (databaseBytes / GB).toFixed(1);
  if (databaseBytes > disk * GIB * DISK_SHARE) {
    return [
      {
        what: `the database has ${gb} GB; stage ${after.stage} has a disk of ${disk} GiB`,
        remedy: "archive or delete data, or stay",
      },
    ];
  }
  if (most !== null && databaseBytes > most * GB) {
    return [
      {
        what: `the database has ${gb} GB; the guide has stage ${after.stage} for less than ${most} GB`,
        remedy: "it starts, but its memory is too small for the data: archive data, or stay",
      },
    ];
  }
  return [];
}

/** Whose address goes: its clients need another. */
function addressMisfits(before: Picture, after: Picture): Misfit[] {
  const gone: readonly (readonly [boolean, string, string])[] = [
    [
      before.poolers !== null && after.poolers === null,
      "the pools",
      "give clients the server's own address: DATABASE_URL of ./cgraph-db env, anew",
    ],
    [
      before.cache !== null && after.cache === null,
      "the cache",
      "let the application read the database instead: REDIS_URL goes",
    ],
    [
      before.servers.length > 1 && after.servers.length === 1,
      "the replicas",
      "give clients one URL for writes and reads: DATABASE_REPLICA_URL goes",
    ],
  ];
  return gone.flatMap(([goes, what, remedy]) => (goes ? [{ what: `${what} would be gone`, remedy }] : []));
}

/**
 * What would not fit after a move to a smaller stage; nothing for one to a larger one. `use` is unknown where no server is
 * asked.
 */
export function misfitsOf(
  before: Picture,
  after: Picture,
  use: UseFacts | undefined,
  target: "docker" | "aws",
): Misfit[] {
  if (after.stage >= before.stage) return [];
  const found: Misfit[] = [];
  const [old, next] = [before.servers[0]?.diskGiB ?? 0, after.servers[0]?.diskGiB ?? 0];
  if (target === "aws" && next < old) {
    found.push({
      what: `storage of RDS does not shrink: pg0 keeps its ${old} GiB, which go on being paid for; the cost counts ${next}`,
      remedy: `say so: ./cgraph-db config set storageGiB ${old}; or restore a dump into a new stack`,
    });
  }
  if (use) {
    // On RDS the disk stays as large as it is.
    const there = target === "aws" ? { ...after, servers: before.servers } : after;
    found.push(...sizeMisfits(use, { ...there, stage: after.stage }));
    if (use.connections > after.maxConnections) {
      found.push({
        what: `${use.connections} connections are in use; stage ${after.stage} takes ${after.maxConnections}`,
        remedy: "make the application's pools smaller first, or set cgraph:maxConnections",
      });
    }
    if (use.partitioned && after.stage === 1) {
      found.push({
        what: "messages are partitioned by month: stage 1 does not preload pg_cron, so nobody makes the coming months' partitions",
        remedy: "call partman.run_maintenance('public.messages') every month yourself, or stay at stage 2",
      });
    }
  }
  return [...found, ...addressMisfits(before, after)];
}
