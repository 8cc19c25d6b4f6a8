/** A server in a container and on a volume of its own, for as long as a backup is restored there; nobody reaches it. */
import { INSTALLATION_LABEL, STACK_LABEL, dockerName, driverOptions } from "../../components/docker/names.ts";
import { CONFIG_DIRECTORY } from "../../components/docker/ConfigFiles.ts";
import { FIRST_CLUSTER } from "../../components/docker/shardRoutes.ts";
import { REPOSITORY_DIRECTORY } from "../../components/docker/pgbackrestFiles.ts";
import type { NodeOutput } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { docker } from "./docker.ts";
import { type RunResult, run } from "./run.ts";

export interface RecoveryNode {
  readonly stack: string;
  /** The container's name, within the stack. */
  readonly name: string;
  /** Whose image, size and settings it has. */
  readonly like: NodeOutput;
  /** The new volume for the data. One of that name is left from an interrupted command, and never in use. */
  readonly volume: string;
  /** Options of Docker's local volume driver. */
  readonly volumeOptions: Readonly<Record<string, string>> | undefined;
  /** The volume of the repository, within the stack; default the first cluster's. */
  readonly repository?: string;
  /** Whether it may write to the backup repository. */
  readonly archives: boolean;
  /** Whether that is reached over the network. */
  readonly remoteRepository: boolean;
  /** What the image's entrypoint is told. */
  readonly command: readonly string[];
}

/** The name of a cluster's repository within the stack: the first one's is older than shards. */
export const repositoryOf = (cluster: string): string =>
  cluster === "" || cluster === FIRST_CLUSTER ? "backups" : `${cluster}-backups`;

/** Removes container and volume, where they are there. */
export async function removeRecoveryNode({ stack, name, volume }: RecoveryNode): Promise<void> {
  await run("docker", ["rm", "--force", dockerName(stack, name)]);
  await run("docker", ["volume", "rm", volume]);
}

async function create(node: RecoveryNode): Promise<string> {
  const { stack, like, volume } = node;
  const container = dockerName(stack, node.name);
  const inspected = await docker(["inspect", "--format", "{{json .Config.Labels}}", like.container]);
  const labels = JSON.parse(inspected) as Record<string, string>;
  const label = [STACK_LABEL, INSTALLATION_LABEL].flatMap((key) => ["--label", `${key}=${labels[key] ?? ""}`]);
  const driver = Object.entries(driverOptions(node.volumeOptions, volume) ?? {}).flatMap(([key, value]) => [
    "--opt",
    `${key}=${value}`,
  ]);
  await docker(["volume", "create", ...label, ...driver, volume]);
  const shmMiB = Math.max(64, Math.floor(like.memoryMiB / 4));
  const mounts = [
    `${volume}:/var/lib/postgresql`,
    `${dockerName(stack, node.repository ?? "backups")}:${REPOSITORY_DIRECTORY}${node.archives ? "" : ":ro"}`,
    `${dockerName(stack, like.name, "config")}:${CONFIG_DIRECTORY}:ro`,
  ].flatMap((mount) => ["--volume", mount]);
  const network = node.remoteRepository ? dockerName(stack) : "none";
  const limits = ["--network", network, "--memory", `${like.memoryMiB}m`, "--shm-size", `${shmMiB}m`];
  await docker(["create", ...label, "--name", container, ...limits, ...mounts, like.image, ...node.command]);
  return container;
}

/**
 * Makes container and volume, and runs the command to its end; gives its exit code and what it said. The container is
 * removed in any case; the volume stays when the command ended with 0 and is removed otherwise. Ctrl-C ends it in order:
 * throws a UserError then.
 */
export async function runRecoveryNode(node: RecoveryNode, onLine: (line: string) => void): Promise<RunResult> {
  await removeRecoveryNode(node);
  let interrupted = false;
  const interrupt = (): void => {
    interrupted = true;
    void run("docker", ["kill", dockerName(node.stack, node.name)]);
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  let succeeded = false;
  try {
    const container = await create(node);
    const stopIfAsked = (): void => {
      if (interrupted) throw new UserError("interrupted: nothing was changed", "call this again", EXIT.failed);
    };
    stopIfAsked();
    const result = await run("docker", ["start", "--attach", container], { onLine });
    stopIfAsked();
    succeeded = result.code === 0;
    return result;
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
    if (succeeded) await run("docker", ["rm", dockerName(node.stack, node.name)]);
    else await removeRecoveryNode(node);
  }
}

/** The lines of what it said that tell why it failed. */
export const reasons = ({ stdout, stderr }: RunResult): string =>
  `${stdout}${stderr}`
    .split("\n")
    .filter((line) => /FATAL|ERROR|PANIC/.test(line))
    .slice(-4)
    .join("\n");
