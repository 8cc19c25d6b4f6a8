/**
 * `cgraph-db bench tuning`: our settings beside PostgreSQL's defaults and pgtune's, on the same data, the same machine
 * and the same disks, taking turns.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { UserError } from "../tuning/errors.ts";
import { type Config, HARDWARE, configs } from "./configs.ts";
import { type Disk, type DiskName, openDisk, proveDisk, releaseDisks } from "./disk.ts";
import { type EngineInfo, docker, engineInfo, helper, interrupted, newestImage, removeAll } from "./docker.ts";
import { FULL, QUICK, type Scale, prepareGolden } from "./golden.ts";
import { plotSvg } from "./plot.ts";
import { type Cell, type Result, cell, ratios } from "./results.ts";
import {
  type Bench,
  GOLDEN,
  placeServer,
  removeServer,
  restore,
  settingsInForce,
  startClient,
  startServer,
} from "./server.ts";
import { type Measurement, WORKLOADS, type Workload, ageWal, measure } from "./workloads.ts";

export interface BenchOptions {
  /** Of each configuration on each disk; the results take 3 or more. */
  readonly runs: number;
  readonly disks: readonly DiskName[];
  /** Little data and short workloads, to see that everything works; its figures mean nothing. */
  readonly quick: boolean;
  onProgress(line: string): void;
  /** Only these workloads; default all. */
  readonly workloads?: readonly string[];
  /** More configurations to try: ours with some settings written over, by name. */
  readonly variants?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export const RESULTS = join(import.meta.dirname, "results", "tuning.json");
const LOCK = join(tmpdir(), "cgraph-bench.lock");

const METHOD = [
  "Configurations take turns: each run of a disk starts with another one. Each run starts from the same data, restored, cold, warmed up by reading the workload's tables.",
  "All run with wal_level = logical and shared_preload_libraries = pg_stat_statements, because ours needs both for other reasons than speed; no archive, no TLS, a Unix socket; data checksums, locale C.UTF-8 of PostgreSQL's own.",
  "pgbench runs in a container of its own without limits, on the same CPUs as the server.",
  "Each workload begins right after a checkpoint. writeheavy and bulkload count the seconds of a checkpoint after them, so that work put off is paid for.",
  "Before the first workload the server fills and recycles WAL segments (as many as min_wal_size or max_wal_size let it keep), as a server has done that is not new.",
  "gp3's limits are shared by reads and writes; here reads have as much as writes.",
];

async function takeLock(): Promise<void> {
  const holder = Number(await readFile(LOCK, "utf8").catch(() => "0"));
  if (holder > 0 && holder !== process.pid && existsSync(`/proc/${holder}`)) {
    throw new UserError(`another benchmark is running (process ${holder})`, "wait until it has ended, or stop it");
  }
  await writeFile(LOCK, `${process.pid}`);
}

async function checkMachine(engine: EngineInfo, scale: Scale): Promise<void> {
  if (engine.cpus < HARDWARE.cpus || engine.memoryMiB < HARDWARE.memoryMiB + 1024) {
    throw new UserError(
      `Docker has ${engine.cpus} CPUs and ${engine.memoryMiB} MiB; the measured server takes ${HARDWARE.cpus} and ${HARDWARE.memoryMiB}`,
      "give Docker more CPUs or memory, or measure on a larger machine",
    );
  }
  if (!existsSync(engine.rootDirectory)) return;
  const { bavail, bsize } = await statfs(engine.rootDirectory);
  const freeMiB = Math.floor((bavail * bsize) / 1024 ** 2);
  const neededMiB = scale.diskMiB * 2;
  if (freeMiB < neededMiB) {
    throw new UserError(
      `Docker's disk has ${freeMiB} MiB free; the benchmark takes ${neededMiB}`,
      "make room, or use --quick",
    );
  }
}

interface Run {
  readonly bench: Bench;
  readonly scale: Scale;
  readonly workloads: readonly Workload[];
  readonly settings: Record<string, Record<string, string>>;
}

/** One configuration from restored data through all workloads. */
async function runOne(
  { bench, scale, workloads, settings }: Run,
  disk: Disk,
  config: Config,
): Promise<Map<string, Measurement>> {
  const { signal } = bench;
  await restore(bench, disk, config);
  await startServer(bench, disk.volume);
  try {
    await placeServer(disk);
    settings[config.name] ??= await settingsInForce(signal);
    await disk.lift();
    await ageWal(scale, signal);
    const measured = new Map<string, Measurement>();
    for (const workload of workloads) {
      measured.set(workload.name, await measure(workload, scale, disk, signal));
    }
    return measured;
  } finally {
    await removeServer();
  }
}

async function runDisk(run: Run, disk: Disk, wanted: readonly Config[], options: BenchOptions): Promise<Cell[]> {
  const all = new Map<string, Measurement[]>();
  for (let round = 0; round < options.runs; round += 1) {
    for (let turn = 0; turn < wanted.length; turn += 1) {
      const config = wanted[(round + turn) % wanted.length];
      if (!config) continue;
      const start = Date.now();
      const measured = await runOne(run, disk, config);
      const figures = [...measured].map(([workload, { value }]) => {
        all.set(`${config.name} ${workload}`, [
          ...(all.get(`${config.name} ${workload}`) ?? []),
          measured.get(workload) as Measurement,
        ]);
        return `${workload} ${value}`;
      });
      options.onProgress(
        `${disk.name}, round ${round + 1} of ${options.runs}, ${config.name}: ${figures.join(", ")} (${Math.round((Date.now() - start) / 1000)} s)`,
      );
    }
  }
  return run.workloads.flatMap((workload) =>
    wanted.map((config) =>
      cell(disk.name, config.name, workload.name, all.get(`${config.name} ${workload.name}`) ?? []),
    ),
  );
}

async function runAll(options: BenchOptions, signal: AbortSignal): Promise<Result> {
  const scale = options.quick ? QUICK : FULL;
  const workloads = WORKLOADS.filter(({ name }) => !options.workloads || options.workloads.includes(name));
  const wanted = configs(options.variants);
  const engine = await engineInfo(signal);
  const image = await newestImage(signal);
  await checkMachine(engine, scale);
  const bench: Bench = { image, signal };
  const loadBefore = Number((loadavg()[0] ?? 0).toFixed(2));
  if (loadBefore > 0.5)
    options.onProgress(`the machine is busy (load ${loadBefore}): other work will blur the figures`);

  const disks: Disk[] = [];
  const proofs: Result["disks"][number][] = [];
  for (const name of options.disks) {
    options.onProgress(`${name}: making the disk and measuring how fast it is`);
    const disk = await openDisk(name, engine, image, scale.diskMiB);
    const proof = await proveDisk(disk, image, signal);
    disks.push(disk);
    proofs.push({ name, mechanism: disk.mechanism, proof });
    options.onProgress(
      `${name}: writes ${(proof.writeBytesPerSecond / 1e6).toFixed(0)} MB/s, reads ${(proof.readBytesPerSecond / 1e6).toFixed(0)} MB/s, ` +
        `8 KiB blocks ${proof.write8kPerSecond} written and ${proof.read8kPerSecond} read a second, ${proof.durable8kPerSecond} durable`,
    );
  }
  await docker(["volume", "create", GOLDEN], { signal });
  await startClient(bench);
  const start = Date.now();
  await prepareGolden(bench, scale);
  options.onProgress(`data prepared (${Math.round((Date.now() - start) / 1000)} s)`);

  const run: Run = { bench, scale, workloads, settings: {} };
  const cells: Cell[] = [];
  for (const disk of disks) cells.push(...(await runDisk(run, disk, wanted, options)));
  return {
    date: new Date().toISOString(),
    runs: options.runs,
    quick: options.quick,
    machine: {
      cpus: engine.cpus,
      memoryMiB: engine.memoryMiB,
      kernel: engine.kernel,
      docker: engine.version,
      cgroupVersion: engine.cgroupVersion,
      postgres: (await helper(image, [], "postgres --version")).replace(/^.*\) (\S+)[^]*$/, "$1"),
      loadBefore,
      serverCpus: HARDWARE.cpus,
      serverMemoryMiB: HARDWARE.memoryMiB,
    },
    method: METHOD,
    scale,
    disks: proofs,
    settings: run.settings,
    workloads: workloads.map(({ name, title, unit }) => ({ name, title, unit })),
    cells,
    ratios: ratios(cells, workloads),
  };
}

function checkOptions(options: BenchOptions): void {
  if (!Number.isInteger(options.runs) || options.runs < 1 || options.runs > 20) {
    throw new UserError(`runs is ${options.runs}`, "give a whole number from 1 to 20; results are kept from 3 on");
  }
  const names = WORKLOADS.map(({ name }) => name);
  const unknown = options.workloads?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new UserError(`there is no workload "${unknown}"`, `choose of ${names.join(", ")}`);
}

/**
 * Runs the benchmark and gives its result. Leaves nothing behind: containers, volumes, loop devices and limits are gone
 * afterwards, also after an error or Ctrl-C. Throws UserErrors for a machine, a disk or options it cannot work with.
 */
export async function benchTuning(options: BenchOptions): Promise<Result> {
  checkOptions(options);
  await takeLock();
  const abort = new AbortController();
  const stop = (): void => abort.abort(interrupted());
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  signals.forEach((name) => process.on(name, stop));
  try {
    await cleanUp();
    return await runAll(options, abort.signal);
  } catch (error) {
    throw abort.signal.aborted ? interrupted() : error;
  } finally {
    try {
      await cleanUp();
    } finally {
      signals.forEach((name) => process.off(name, stop));
      await rm(LOCK, { force: true });
    }
  }
}

async function cleanUp(): Promise<void> {
  await removeAll();
  await releaseDisks();
}

/**
 * Writes a result and its picture. Only a complete one (both disks, all workloads, 3 runs or more, the three
 * configurations) goes to bench/results; any other to the temporary folder. Returns the path of the JSON.
 */
export async function saveResult(result: Result): Promise<string> {
  const complete =
    !result.quick &&
    result.runs >= 3 &&
    result.disks.length === 2 &&
    result.workloads.length === WORKLOADS.length &&
    Object.keys(result.settings).length === 3;
  const path = complete ? RESULTS : join(tmpdir(), "cgraph-bench-tuning.json");
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(result, null, 2)}\n`);
  await writeFile(path.replace(/json$/, "svg"), plotSvg(result));
  return path;
}
