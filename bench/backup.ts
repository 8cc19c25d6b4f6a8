/** How fast a backup and a restore are beside PostgreSQL's own and a plain copy, and what a backup costs the load. */
import { dockerName } from "../components/docker/names.ts";
import { REPOSITORY_DIRECTORY } from "../components/docker/pgbackrestFiles.ts";
import { listBackups } from "../scripts/lib/pgbackrest.ts";
import { docker } from "./docker.ts";
import { preparePgbench, runPgbench } from "./pgbenchLoad.ts";
import type { Report, Series } from "./report.ts";
import { type BenchStack, withStack } from "./stack.ts";

export interface BackupBenchOptions {
  readonly runs: number;
  /** Of pgbench's tables: 15 MB each. */
  readonly scale: number;
  /** Of a run of pgbench. */
  readonly seconds: number;
  readonly onProgress: (text: string) => void;
}

const CLIENTS = 8;
const COPY = "/copy";

interface Measured {
  readonly stack: BenchStack;
  readonly image: string;
  /** The server whose data the others' figures are about. */
  readonly node: string;
  readonly databaseMB: number;
}

/** A program of the image on an empty volume at /copy, which is thrown away; gives its seconds, the container's start included. */
async function onNewVolume(
  { stack, image }: Measured,
  mounts: readonly string[],
  script: string,
  password?: string,
): Promise<number> {
  const volume = dockerName(stack.name, "bench-copy");
  const label = ["--label", `cgraph.stack=${stack.name}`];
  await docker(["volume", "create", ...label, volume]);
  try {
    const began = performance.now();
    await docker(
      [
        ...["run", "--rm", "--interactive", "--network", "none", ...label, "--user", "0", "--entrypoint", "bash"],
        ...[...mounts, `${volume}:${COPY}`].flatMap((mount) => ["--volume", mount]),
        ...[image, "-euc", `${script}; sync -f ${COPY}`],
      ],
      { input: password ?? "" },
    );
    return (performance.now() - began) / 1000;
  } finally {
    await docker(["volume", "rm", volume]);
  }
}

const plainCopy = (measured: Measured): Promise<number> =>
  onNewVolume(
    measured,
    [`${dockerName(measured.stack.name, measured.node, "data")}:/from:ro`],
    // A file that the server removes meanwhile is none of ours.
    `cp -r /from/. ${COPY} 2>/dev/null || true`,
  );

const baseBackup = (measured: Measured): Promise<number> =>
  onNewVolume(
    measured,
    [`${dockerName(measured.stack.name, measured.node, "run")}:/run/postgresql`],
    `read -r PGPASSWORD; export PGPASSWORD; pg_basebackup -h /run/postgresql -U replicator -D ${COPY}/data --checkpoint=fast`,
    `${measured.stack.values.passwords.replicator}\n`,
  );

const restore = (measured: Measured): Promise<number> =>
  onNewVolume(
    measured,
    [
      `${dockerName(measured.stack.name, "backups")}:${REPOSITORY_DIRECTORY}:ro`,
      `${dockerName(measured.stack.name, measured.node, "config")}:/etc/cgraph:ro`,
    ],
    `mkdir -m 700 ${COPY}/data; chown -R postgres:postgres ${COPY}
     setpriv --reuid=postgres --regid=postgres --init-groups pgbackrest restore --pg1-path=${COPY}/data --type=none --log-level-console=warn`,
  );

/** Seconds of a full backup; `source`: whether most of it is read from the replica. */
async function fullBackup({ stack }: Pick<Measured, "stack">, source: "replica" | "primary"): Promise<number> {
  const began = performance.now();
  await docker([
    ...["exec", "--user", "postgres", stack.values.backupContainer, "cgraph-backup-now", "--type=full"],
    ...["--log-level-console=warn", `--backup-standby=${source === "replica" ? "y" : "n"}`],
  ]);
  return (performance.now() - began) / 1000;
}

/** Transactions a second while backups are taken one after the other, or while there is none. */
async function load(measured: Measured, seconds: number, source?: "replica" | "primary"): Promise<number> {
  let going = source !== undefined;
  const backups = (async () => {
    while (going && source) await fullBackup(measured, source);
  })();
  try {
    const run = { route: "primary", clients: CLIENTS, seconds, options: ["--protocol=prepared"] } as const;
    return (await runPgbench(measured.stack, run)).transactionsPerSecond;
  } finally {
    going = false;
    await backups;
  }
}

const WAYS = {
  "plain copy (cp)": plainCopy,
  pg_basebackup: baseBackup,
  "backup from the primary": (measured: Measured) => fullBackup(measured, "primary"),
  "backup from the replica": (measured: Measured) => fullBackup(measured, "replica"),
  restore,
} as const;
const LOADS = {
  "no backup": undefined,
  "backup from the primary": "primary",
  "backup from the replica": "replica",
} as const;

/** `bench backup`: all ways in turn, then the load beside them. */
export function benchBackup({ runs, scale, seconds, onProgress }: BackupBenchOptions): Promise<Report> {
  return withStack({ stage: 2 }, async (stack) => {
    onProgress(`filling pgbench's tables, scale ${scale}`);
    await preparePgbench(stack, scale);
    await fullBackup({ stack }, "replica");
    const [node] = stack.values.nodes;
    const newest = (await listBackups(stack.values.backupContainer)).at(-1);
    if (!node || !newest) throw new Error("no server, or no backup of it");
    const databaseMB = newest.databaseBytes / 1e6;
    const measured: Measured = { stack, image: node.image, node: node.name, databaseMB };
    const rates = new Map<string, number[]>();
    const throughput = new Map<string, number[]>();
    const add = (map: Map<string, number[]>, name: string, value: number): void => {
      map.set(name, [...(map.get(name) ?? []), value]);
    };
    for (let round = 1; round <= runs; round++) {
      for (const [name, way] of Object.entries(WAYS)) {
        const rate = databaseMB / (await way(measured));
        add(rates, name, rate);
        onProgress(`round ${round}, ${name}: ${rate.toFixed(0)} MB/s`);
      }
      for (const [name, source] of Object.entries(LOADS)) {
        const value = await load(measured, seconds, source);
        add(throughput, name, value);
        onProgress(`round ${round}, load with ${name}: ${Math.round(value)} transactions/s`);
      }
    }
    const seriesOf = (map: ReadonlyMap<string, readonly number[]>): Series[] =>
      [...map].map(([name, values]) => ({ name, values }));
    return {
      name: "backup",
      title: "Backups and restores",
      date: new Date().toISOString(),
      method: [
        `A stage 2 with ${databaseMB.toFixed(0)} MB, from and to this machine's disk; each way copies all of it, in turn, its container's start and the flush of what it wrote included.`,
        "pgBackRest compresses (lz4), encrypts (AES-256), checks every page's checksum, with two processes; a restore is copied, not replayed. cp and pg_basebackup do none of the former, and cp's copy of a running server opens nowhere.",
        `The load is pgbench's own, ${CLIENTS} clients, ${seconds} s a run, while full backups follow one another without a pause; all servers share this machine's ${node.cpus} CPUs and its disk.`,
      ],
      panels: [
        {
          title: "Database's MB a second",
          unit: "MB/s",
          groups: [{ title: "one copy of the database", series: seriesOf(rates) }],
        },
        {
          title: "Transactions a second meanwhile",
          unit: "transactions/s",
          groups: [{ title: "pgbench", series: seriesOf(throughput) }],
        },
      ],
      facts: { databaseMB: Math.round(databaseMB), storedMB: Math.round(newest.storedBytes / 1e6) },
    };
  });
}
