/** A stack's containers, networks and volumes: as its state has them, and as Docker has them. */
import { INSTALLATION_LABEL, STACK_LABEL } from "../../components/docker/names.ts";
import { resourceName } from "../../migration/change.ts";
import type {
  ContainerShape,
  FoundContainer,
  FoundDocker,
  Labelled,
  WantedContainer,
  WantedDocker,
} from "../../migration/driftDocker.ts";
import { docker } from "./docker.ts";
import { DOCKER_TYPES, installationOf } from "./reconcile.ts";
import { run } from "./run.ts";
import { type Deployment, type Resource, ofType } from "./state.ts";

const MiB = 1024 * 1024;

/** The inputs of a container that are compared; what may be secret (uploads) is not among them. */
interface ContainerInputs {
  readonly name: string;
  readonly image: string;
  readonly cpus: string;
  readonly memory: number;
  readonly memorySwap?: number;
  readonly restart: string;
  readonly mustRun?: boolean;
  readonly ports?: readonly { readonly internal: number; readonly external: number; readonly ip: string }[];
  readonly networksAdvanced?: readonly { readonly name: string; readonly aliases?: readonly string[] }[];
  readonly volumes?: readonly {
    readonly volumeName?: string;
    readonly hostPath?: string;
    readonly containerPath: string;
  }[];
}

const NO_BOUNDS = { "cpuset-cpus": "none", "cpu-shares": "none", "memory-reservation": "none" } as const;

function wantedContainer({ urn, id, inputs }: Resource): WantedContainer {
  const given = inputs as unknown as ContainerInputs;
  return {
    id: id ?? "",
    resource: resourceName(urn),
    name: given.name,
    image: given.image,
    runs: given.mustRun !== false,
    cpus: Number(given.cpus),
    memoryMiB: given.memory,
    memorySwapMiB: given.memorySwap,
    restart: given.restart,
    ports: given.ports ?? [],
    networks: Object.fromEntries((given.networksAdvanced ?? []).map(({ name, aliases }) => [name, aliases ?? []])),
    volumes: Object.fromEntries(
      (given.volumes ?? []).map((volume) => [volume.containerPath, volume.volumeName ?? volume.hostPath ?? ""]),
    ),
    other: NO_BOUNDS,
  };
}

/** What the state says there is in Docker. */
export function wantedDocker(stack: string, state: Deployment): WantedDocker {
  return {
    stack,
    installation: installationOf(state),
    containers: ofType(state, DOCKER_TYPES.container).map(wantedContainer),
    networks: ofType(state, DOCKER_TYPES.network).map(({ urn, id, inputs }) => ({
      id: id ?? "",
      name: (inputs?.["name"] as string | undefined) ?? resourceName(urn),
    })),
    volumes: ofType(state, DOCKER_TYPES.volume).map(({ id }) => id ?? ""),
    images: ofType(state, DOCKER_TYPES.image).map(({ outputs }) => ({
      id: String(outputs?.["imageId"]),
      name: String(outputs?.["name"]),
    })),
  };
}

/** The part of `docker inspect` that is compared. */
interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly Image: string;
  readonly State: { readonly Status: string };
  readonly HostConfig: {
    readonly Memory: number;
    readonly MemorySwap: number;
    readonly MemoryReservation: number;
    readonly NanoCpus: number;
    readonly CpuShares: number;
    readonly CpusetCpus: string;
    readonly RestartPolicy: { readonly Name: string };
    readonly PortBindings: Readonly<
      Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
    > | null;
  };
  readonly Mounts: readonly { readonly Name?: string; readonly Source: string; readonly Destination: string }[];
  readonly NetworkSettings: {
    readonly Networks: Readonly<Record<string, { readonly Aliases: readonly string[] | null }>>;
  };
}

function foundContainer({ Id, Name, Image, State, HostConfig, Mounts, NetworkSettings }: Inspected): FoundContainer {
  const bounds: ContainerShape["other"] = {
    "cpuset-cpus": HostConfig.CpusetCpus || "none",
    "cpu-shares": HostConfig.CpuShares === 0 ? "none" : String(HostConfig.CpuShares),
    "memory-reservation": HostConfig.MemoryReservation === 0 ? "none" : `${HostConfig.MemoryReservation / MiB} MiB`,
  };
  return {
    id: Id,
    name: Name.replace(/^\//, ""),
    image: Image,
    status: State.Status,
    cpus: HostConfig.NanoCpus / 1e9,
    memoryMiB: HostConfig.Memory / MiB,
    // -1 is what an engine without a bound for swap makes of any.
    memorySwapMiB: HostConfig.MemorySwap === -1 ? undefined : HostConfig.MemorySwap / MiB,
    restart: HostConfig.RestartPolicy.Name || "no",
    ports: Object.entries(HostConfig.PortBindings ?? {}).flatMap(([internal, bindings]) =>
      (bindings ?? []).map(({ HostIp, HostPort }) => ({
        internal: Number.parseInt(internal, 10),
        external: Number(HostPort),
        ip: HostIp,
      })),
    ),
    networks: Object.fromEntries(
      Object.entries(NetworkSettings.Networks).map(([name, { Aliases }]) => [name, Aliases ?? []]),
    ),
    volumes: Object.fromEntries(Mounts.map(({ Destination, Name: volume, Source }) => [Destination, volume ?? Source])),
    other: bounds,
  };
}

const LABELS = `{{.Label "${STACK_LABEL}"}}\t{{.Label "${INSTALLATION_LABEL}"}}`;

/** Everything of a kind on the engine: a thing that has lost its label is there all the same. */
async function listAll(command: readonly string[], columns: string): Promise<Labelled[]> {
  const out = await docker([...command, "--format", `${columns}\t${LABELS}`]);
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [id = "", name = "", stack = "", installation = ""] = line.split("\t");
      return { id, name, stack, installation };
    });
}

async function inspectContainers(ids: readonly string[]): Promise<FoundContainer[]> {
  if (ids.length === 0) return [];
  // Those that are gone make its exit code 1; it prints the others.
  const { stdout } = await run("docker", ["container", "inspect", ...ids]);
  return (JSON.parse(stdout || "[]") as Inspected[]).map(foundContainer);
}

/** What Docker has, asked all at once. */
export async function foundDocker(wanted: WantedDocker): Promise<FoundDocker> {
  const [containers, allContainers, networks, volumes, images] = await Promise.all([
    inspectContainers(wanted.containers.map(({ id }) => id)),
    listAll(["ps", "--all", "--no-trunc"], "{{.ID}}\t{{.Names}}"),
    listAll(["network", "ls", "--no-trunc"], "{{.ID}}\t{{.Name}}"),
    listAll(["volume", "ls"], "{{.Name}}\t{{.Name}}"),
    docker(["image", "ls", "--quiet", "--no-trunc"]),
  ]);
  return { containers, allContainers, networks, volumes, images: images.split("\n") };
}
