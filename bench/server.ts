/** The PostgreSQL server that is measured, and the client container that puts load on it through a Unix socket. */
import type { Config } from "./configs.ts";
import { HARDWARE } from "./configs.ts";
import type { Disk } from "./disk.ts";
import { command, docker, helper, named } from "./docker.ts";

export const GOLDEN = named("golden");
const SOCKET = named("socket");
const SERVER = named("server");
const CLIENT = named("client");
export const DATABASE = "bench";
export const PGDATA = "/data/pg";

/** Limits of the server's container: the guide's stage 1 server; swap is not allowed. */
export const LIMITS = [
  "--cpus",
  `${HARDWARE.cpus}`,
  "--memory",
  `${HARDWARE.memoryMiB}m`,
  "--memory-swap",
  `${HARDWARE.memoryMiB}m`,
  // Parallel queries share memory through /dev/shm.
  "--shm-size",
  `${HARDWARE.memoryMiB / 4}m`,
] as const;

export interface Bench {
  readonly image: string;
  readonly signal: AbortSignal;
}

/** Client container: no limits of its own, so that pgbench's CPU is not taken from the server's share. */
export async function startClient({ image, signal }: Bench): Promise<void> {
  await docker(
    [
      ...["run", "--detach", "--init", "--name", CLIENT, "--network", "none", "--user", "postgres"],
      ...["--volume", `${SOCKET}:/run/postgresql`, "--volume", `${GOLDEN}:/golden:ro`],
      ...["--entrypoint", "sleep", image, "infinity"],
    ],
    { signal },
  );
}

/**
 * Fills the disk with a fresh copy of the prepared data and the configuration, and drops the copy from the page cache:
 * pages that another container read would not count against the server's memory.
 */
export async function restore({ image, signal }: Bench, disk: Disk, config: Config): Promise<void> {
  await disk.lift();
  await helper(
    image,
    [`${GOLDEN}:/golden:ro`, `${disk.volume}:/data`],
    `rm -rf ${PGDATA}
     cp -a --reflink=auto /golden/pg ${PGDATA}
     cat > ${PGDATA}/bench.conf
     chown postgres: ${PGDATA}/bench.conf
     sync -f ${PGDATA}
     find ${PGDATA} -type f -size +256k -exec dd if={} iflag=nocache count=0 status=none ';'`,
    { input: config.conf, signal },
  );
  await disk.apply();
}

/** Starts the server on a volume and waits until it answers. `args` are passed to postgres. */
export async function startServer(bench: Bench, volume: string, args: readonly string[] = []): Promise<void> {
  const { image, signal } = bench;
  await docker(
    [
      ...["run", "--detach", "--name", SERVER, "--network", "none", "--user", "postgres", ...LIMITS],
      ...["--volume", `${SOCKET}:/run/postgresql`, "--volume", `${volume}:/data`],
      ...["--entrypoint", "postgres", image, "-D", PGDATA, ...args],
    ],
    { signal },
  );
  const until = Date.now() + 60_000;
  for (;;) {
    try {
      await docker(["exec", CLIENT, "pg_isready", "--quiet"], { signal });
      return;
    } catch (error) {
      if (signal.aborted || Date.now() > until) {
        const logs = await command("docker", ["logs", "--tail", "20", SERVER]).catch(() => "");
        throw new Error(`PostgreSQL did not start with these settings:\n${logs}`, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

export const placeServer = (disk: Disk): Promise<void> => disk.place(SERVER);

/** Stops the server as an administrator would, so that its data directory is clean. */
export async function stopServer(signal: AbortSignal): Promise<void> {
  await docker(["kill", "--signal", "INT", SERVER], { signal });
  await docker(["wait", SERVER], { signal, timeoutMs: 300_000 });
  await removeServer();
}

/** Kills the server; its data is not needed any more. */
export const removeServer = (): Promise<string> => docker(["rm", "--force", SERVER]);

/** Runs SQL with psql and gives its rows, unaligned, without headers. */
export async function sql(signal: AbortSignal, text: string, database = DATABASE): Promise<string> {
  const args = ["exec", "--interactive", CLIENT, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database];
  return (await docker(args, { input: text, signal })).trim();
}

export interface PgbenchResult {
  readonly transactions: number;
  readonly seconds: number;
}

/** Runs pgbench in the client container; `script` replaces its built-in one. */
export async function pgbench(signal: AbortSignal, args: readonly string[], script?: string): Promise<PgbenchResult> {
  const file = script === undefined ? [] : ["--file", "-"];
  const text = await docker(["exec", "--interactive", CLIENT, "pgbench", "--no-vacuum", ...args, ...file, DATABASE], {
    signal,
    ...(script === undefined ? {} : { input: script }),
  });
  const number = (pattern: RegExp): number => {
    const value = Number(pattern.exec(text)?.[1]);
    if (!Number.isFinite(value)) throw new Error(`pgbench printed no ${pattern.source}:\n${text}`);
    return value;
  };
  const transactions = number(/transactions actually processed: (\d+)/);
  if (number(/number of failed transactions: (\d+)/) > 0) throw new Error(`pgbench had failed transactions:\n${text}`);
  return { transactions, seconds: transactions / number(/tps = ([\d.]+)/) };
}

/** Counters that tell why a configuration is faster: they are shown beside each figure. */
export interface Counters {
  readonly checkpointsTimed: number;
  readonly checkpointsRequested: number;
  readonly checkpointBuffers: number;
  readonly walBytes: number;
  readonly walFullPageImages: number;
  readonly tempBytes: number;
}

export async function counters(signal: AbortSignal): Promise<Counters> {
  const row = await sql(
    signal,
    `SELECT json_build_object(
       'checkpointsTimed', c.num_timed, 'checkpointsRequested', c.num_requested, 'checkpointBuffers', c.buffers_written,
       'walBytes', w.wal_bytes, 'walFullPageImages', w.wal_fpi, 'tempBytes', d.temp_bytes)
     FROM pg_stat_checkpointer c, pg_stat_wal w, pg_stat_database d WHERE d.datname = current_database()`,
  );
  return JSON.parse(row) as Counters;
}

/** Settings that differ from PostgreSQL's built-in ones, as the running server says; without places of files. */
export async function settingsInForce(signal: AbortSignal): Promise<Record<string, string>> {
  const rows = await sql(
    signal,
    `SELECT json_object_agg(name, current_setting(name) ORDER BY name) FROM pg_settings
     WHERE source NOT IN ('default', 'client', 'session') AND name !~ '_file$|^data_directory|_directories$|_sync_method$|^transaction_'`,
  );
  return JSON.parse(rows) as Record<string, string>;
}
