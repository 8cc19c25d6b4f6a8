/** The docker command, for the benchmark's own containers and volumes: all are named `cgraph-bench-…`. */
import { execFile } from "node:child_process";
import { UserError } from "../tuning/errors.ts";

export const PREFIX = "cgraph-bench-";
export const named = (name: string): string => `${PREFIX}${name}`;

export interface CommandOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  /** Stops the command when the benchmark is interrupted; clean-up commands go without. */
  readonly signal?: AbortSignal;
}

/** Runs a program without a shell and gives its standard output; throws with its standard error when it fails. */
export function command(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      [...args],
      {
        maxBuffer: 64 * 1024 * 1024,
        timeout: options.timeoutMs ?? 900_000,
        ...(options.signal ? { signal: options.signal } : {}),
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        if (options.signal?.aborted) return reject(interrupted());
        if ((error as NodeJS.ErrnoException).code === "ENOENT") {
          return reject(new UserError(`the program ${program} is missing`, `install ${program}`));
        }
        const why = error.killed ? "took too long" : "failed";
        reject(
          new Error(
            `${program} ${args.slice(0, 6).join(" ")} ${why}: ${(stderr || stdout || error.message).trim().slice(-1500)}`,
          ),
        );
      },
    );
    if (options.input !== undefined) {
      // A child that ends before it has read everything is reported by its exit code.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(options.input);
    }
  });
}

export const interrupted = (): UserError =>
  new UserError("the benchmark was interrupted", "start it again; nothing of it is left behind");

export const docker = (args: readonly string[], options: CommandOptions = {}): Promise<string> =>
  command("docker", args, options);

/** What results say about the engine, and where it keeps volumes. */
export interface EngineInfo {
  readonly version: string;
  readonly kernel: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly cgroupVersion: number;
  readonly rootDirectory: string;
}

/** Asks the engine what it is. Throws a UserError when it does not answer. */
export async function engineInfo(signal?: AbortSignal): Promise<EngineInfo> {
  let text: string;
  try {
    text = await docker(["info", "--format", "{{json .}}"], { timeoutMs: 20_000, ...(signal ? { signal } : {}) });
  } catch (error) {
    throw new UserError(
      `Docker does not answer: ${error instanceof Error ? error.message : String(error)}`,
      "start Docker, then try again",
    );
  }
  const info = JSON.parse(text) as Record<string, unknown>;
  return {
    version: String(info["ServerVersion"]),
    kernel: String(info["KernelVersion"]),
    cpus: Number(info["NCPU"]),
    memoryMiB: Math.floor(Number(info["MemTotal"]) / 1024 ** 2),
    cgroupVersion: Number(info["CgroupVersion"] ?? 1),
    rootDirectory: String(info["DockerRootDir"]),
  };
}

/** The newest image of ours for PostgreSQL 17; throws a UserError when there is none. */
export async function newestImage(signal?: AbortSignal): Promise<string> {
  // `docker images` lists the newest first.
  const text = await docker(
    ["images", "--format", "{{.Repository}}:{{.Tag}}", "cgraph-postgres"],
    signal ? { signal } : {},
  );
  const image = text.split("\n").find((line) => line.startsWith("cgraph-postgres:17-"));
  if (!image) {
    throw new UserError(
      "there is no image cgraph-postgres:17-… to measure with",
      "start a stack once (./cgraph-db up), or build it: docker build -t cgraph-postgres:17-bench images/postgres",
    );
  }
  return image;
}

/**
 * Removes every container and then every volume of the benchmark. Tries again for a few seconds: what an interrupted
 * command asked of the engine may still be under way.
 */
export async function removeAll(): Promise<void> {
  const own = (text: string): string[] => text.split("\n").filter((name) => name.startsWith(PREFIX));
  for (let attempt = 1; ; attempt += 1) {
    try {
      const containers = own(await docker(["ps", "-a", "--filter", `name=${PREFIX}`, "--format", "{{.Names}}"]));
      if (containers.length) await docker(["rm", "-f", ...containers]);
      const volumes = own(await docker(["volume", "ls", "--filter", `name=${PREFIX}`, "--format", "{{.Name}}"]));
      if (volumes.length) await docker(["volume", "rm", ...volumes]);
      if (!containers.length && !volumes.length) return;
    } catch (error) {
      if (attempt >= 6) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

/** Runs a helper as root inside of our image: files of volumes belong to users that the host need not know. */
export function helper(
  image: string,
  volumes: readonly string[],
  script: string,
  options: CommandOptions = {},
): Promise<string> {
  const mounts = volumes.flatMap((volume) => ["--volume", volume]);
  const stdin = options.input === undefined ? [] : ["--interactive"];
  return docker(
    [
      "run",
      "--rm",
      ...stdin,
      "--name",
      named("helper"),
      "--network",
      "none",
      "--user",
      "0",
      ...mounts,
      "--entrypoint",
      "bash",
      image,
      "-euc",
      script,
    ],
    options,
  );
}

/** CPU seconds that a container has used, by its control group. */
export async function cpuSeconds(container: string): Promise<number> {
  const script = "cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpuacct/cpuacct.usage";
  const text = await docker(["exec", container, "sh", "-c", script]);
  const microseconds = /usage_usec (\d+)/.exec(text)?.[1];
  const used = microseconds === undefined ? Number(text) / 1e9 : Number(microseconds) / 1e6;
  if (!Number.isFinite(used)) throw new Error(`the control group of ${container} says "${text.slice(0, 100)}"`);
  return used;
}
