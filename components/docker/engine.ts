import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { DockerHost } from "../../stacks/topology.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";

const MiB = 1024 * 1024;

/** CPUs and memory of the machine that the Docker engine runs on. Throws a UserError where no engine answers. */
export async function dockerHost(): Promise<DockerHost> {
  try {
    const { stdout } = await promisify(execFile)("docker", ["info", "--format", "{{.NCPU}} {{.MemTotal}}"], {
      timeout: 20_000,
    });
    const [cpus, bytes] = stdout.trim().split(" ").map(Number);
    if (!cpus || !bytes) throw new Error(`docker info says "${stdout.trim()}"`);
    return { cpus, memoryMiB: Math.floor(bytes / MiB) };
  } catch (error) {
    const detail = error instanceof Error ? error.message.trim().split("\n").at(-1) : String(error);
    throw new UserError(
      `no Docker engine answers: ${detail}`,
      "start Docker, set DOCKER_HOST, or run ./cgraph-db setup",
      EXIT.failed,
    );
  }
}
