import { INSTALLATION_LABEL, STACK_LABEL } from "../../components/docker/names.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type RunOptions, run } from "./run.ts";

/** Runs a docker command and gives its standard output. Throws a UserError with docker's own words where it fails. */
export async function docker(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run("docker", args, options);
  if (code !== 0) {
    const words = stderr.trim().split("\n").slice(-5).join("\n");
    throw new UserError(
      `docker ${args[0]} failed: ${words || `exit code ${code}`}`,
      /Cannot connect|connection refused|daemon running/i.test(words)
        ? "start Docker (./cgraph-db setup), then call this again"
        : "see the message above",
      EXIT.failed,
    );
  }
  return stdout;
}

export interface DockerObject {
  /** Container or network id; a volume's name. */
  readonly id: string;
  readonly name: string;
  /** Value of the installation label; empty where there is none. */
  readonly installation: string;
}

const LISTS = {
  container: ["ps", "--all", "--no-trunc", "--format", `{{.ID}}\t{{.Names}}\t{{.Label "${INSTALLATION_LABEL}"}}`],
  network: ["network", "ls", "--no-trunc", "--format", `{{.ID}}\t{{.Name}}\t{{.Label "${INSTALLATION_LABEL}"}}`],
  volume: ["volume", "ls", "--format", `{{.Name}}\t{{.Name}}\t{{.Label "${INSTALLATION_LABEL}"}}`],
} as const;

/** What carries a stack's label in Docker. */
export async function listLabelled(kind: keyof typeof LISTS, stack: string): Promise<DockerObject[]> {
  const out = await docker([...LISTS[kind], "--filter", `label=${STACK_LABEL}=${stack}`]);
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [id = "", name = "", installation = ""] = line.split("\t");
      return { id, name, installation };
    });
}

export interface ContainerState {
  readonly name: string;
  /** created, running, restarting, exited, … */
  readonly status: string;
  /** healthy, unhealthy, starting; none without a health check. */
  readonly health: string;
  readonly restarts: number;
}

/** States of containers by name; those that do not exist are left out. */
export async function containerStates(names: readonly string[]): Promise<ContainerState[]> {
  if (names.length === 0) return [];
  const format =
    "{{.Name}}\t{{.State.Status}}\t{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}\t{{.RestartCount}}";
  const { stdout } = await run("docker", ["container", "inspect", "--format", format, ...names]);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [name = "", status = "", health = "", restarts = "0"] = line.split("\t");
      return { name: name.replace(/^\//, ""), status, health, restarts: Number(restarts) };
    });
}

/** The last lines of a container's log that say why it does not run; empty where it has none. */
export async function lastWords(container: string): Promise<string> {
  const { stdout, stderr } = await run("docker", ["logs", "--tail", "60", container]);
  const lines = `${stdout}${stderr}`.split("\n").filter((line) => line.trim() !== "");
  const telling = lines.filter((line) => /cgraph: FATAL|FATAL:|PANIC:|ERROR|No space left/.test(line));
  return (telling.length > 0 ? telling : lines).slice(-4).join("\n");
}
