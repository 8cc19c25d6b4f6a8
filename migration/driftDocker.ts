/** What somebody has done to a stack's containers, networks and volumes without Pulumi. Pure. */
import type { Finding, Remedies } from "./drift.ts";

export interface Port {
  readonly internal: number;
  readonly external: number;
  readonly ip: string;
}

/** A container, as the state has it or as Docker has it. */
export interface ContainerShape {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  /** Memory and swap together; undefined where Docker cannot bound it. */
  readonly memorySwapMiB: number | undefined;
  readonly restart: string;
  readonly ports: readonly Port[];
  /** Aliases by network. */
  readonly networks: Readonly<Record<string, readonly string[]>>;
  /** Volumes by the path in the container. */
  readonly volumes: Readonly<Record<string, string>>;
  /** Bounds that we set on no container, by their name in `docker update`; empty or 0: none. */
  readonly other: Readonly<Record<string, string>>;
}

export interface WantedContainer extends ContainerShape {
  /** Its name in the program: `pg0`. */
  readonly resource: string;
  /** Whether it runs; one-shots have ended. */
  readonly runs: boolean;
}

export interface FoundContainer extends ContainerShape {
  /** running, exited, paused, … */
  readonly status: string;
}

/** A container, network or volume with the stack's labels. */
export interface Labelled {
  readonly id: string;
  readonly name: string;
  readonly stack: string;
  readonly installation: string;
}

/** What the state says. */
export interface WantedDocker {
  readonly stack: string;
  readonly installation: string | undefined;
  readonly containers: readonly WantedContainer[];
  readonly networks: readonly { readonly id: string; readonly name: string }[];
  readonly volumes: readonly string[];
  readonly images: readonly { readonly id: string; readonly name: string }[];
}

/** What Docker says; the lists hold everything on the engine, other stacks' things too. */
export interface FoundDocker {
  readonly containers: readonly FoundContainer[];
  readonly allContainers: readonly Labelled[];
  readonly networks: readonly Labelled[];
  readonly volumes: readonly Labelled[];
  readonly images: readonly string[];
}

const list = (parts: readonly string[]): string => (parts.length === 0 ? "none" : parts.join(", "));
const portText = ({ ip, external, internal }: Port): string => `${ip}:${external}->${internal}`;
const mib = (count: number): string => (count === 0 ? "none" : `${count} MiB`);

/** What mends a container that exists and does not run as it should. */
function start(name: string, status: string): string {
  return status === "paused" ? `docker unpause ${name}` : `docker start ${name}`;
}

function containerDrift(wanted: WantedContainer, found: FoundContainer, remedies: Remedies): Finding[] {
  const { name } = wanted;
  const differs = (what: string, expected: string, there: string, remedy: string): Finding[] =>
    expected === there ? [] : [{ kind: "container", where: wanted.resource, what, expected, found: there, remedy }];
  const running = wanted.runs ? differs("container", "running", found.status, start(found.name, found.status)) : [];
  const swap = wanted.memorySwapMiB ?? wanted.memoryMiB;
  const foundSwap = found.memorySwapMiB ?? swap;
  const memory = (bound: number, withSwap: number): string =>
    withSwap === bound ? mib(bound) : `${mib(bound)}, with swap ${mib(withSwap)}`;
  return [
    ...differs("name", wanted.name, found.name, `docker rename ${found.name} ${wanted.name}`),
    ...running,
    ...differs(
      "memory limit",
      memory(wanted.memoryMiB, swap),
      memory(found.memoryMiB, foundSwap),
      `docker update --memory ${wanted.memoryMiB}m --memory-swap ${swap}m ${name}`,
    ),
    ...differs("CPU limit", String(wanted.cpus), String(found.cpus), `docker update --cpus ${wanted.cpus} ${name}`),
    ...differs("restart policy", wanted.restart, found.restart, `docker update --restart ${wanted.restart} ${name}`),
    ...Object.keys(found.other).flatMap((bound) =>
      differs(bound, wanted.other[bound] ?? "none", found.other[bound] ?? "none", remedies.anew(name)),
    ),
    ...differs("image", wanted.image, found.image, remedies.anew(name)),
    ...differs(
      "published ports",
      list(wanted.ports.map(portText).sort()),
      list(found.ports.map(portText).sort()),
      remedies.anew(name),
    ),
    ...Object.entries(wanted.networks).flatMap(([network, aliases]) => {
      const there = found.networks[network];
      const command = `docker network connect ${aliases.map((alias) => `--alias ${alias} `).join("")}${network} ${name}`;
      if (!there) return differs("network", network, "not connected", command);
      const missing = aliases.filter((alias) => !there.includes(alias));
      const again = `docker network disconnect ${network} ${name} && ${command}`;
      return missing.length === 0 ? [] : differs("name on the network", missing.join(", "), "none", again);
    }),
    ...Object.keys(found.networks)
      // Docker's own networks are what a container without one of the stack's is on.
      .filter((network) => !(network in wanted.networks) && !["bridge", "none", "host"].includes(network))
      .flatMap((network) =>
        differs("network", "not connected", network, `docker network disconnect ${network} ${name}`),
      ),
    ...Object.entries(wanted.volumes).flatMap(([path, volume]) =>
      differs(`volume at ${path}`, volume, found.volumes[path] ?? "none", remedies.anew(name)),
    ),
  ];
}

function missingContainer(wanted: WantedContainer, all: readonly Labelled[], remedies: Remedies): Finding {
  const other = all.find(({ name }) => name === wanted.name);
  return {
    kind: "container",
    where: wanted.resource,
    what: "container",
    expected: wanted.runs ? "running" : "there",
    found: other ? "replaced by another of its name" : "removed",
    remedy: other ? `docker rm --force ${wanted.name} && ${remedies.cgraph("up")}` : remedies.cgraph("up"),
  };
}

const gone = (kind: "network" | "volume" | "image", where: string, remedy: string): Finding => ({
  kind,
  where,
  what: kind,
  expected: "there",
  found: "removed",
  remedy,
});

/** Whether a volume holds data or backups, which nothing makes anew. */
const holdsData = (volume: string): boolean => /-(data|backups)/.test(volume);

/** What carries the stack's label and is not in its state. */
function unknown(
  kind: "container" | "network" | "volume",
  there: readonly Labelled[],
  known: ReadonlySet<string>,
  wanted: WantedDocker,
  remedies: Remedies,
): Finding[] {
  const remedy = {
    container: (name: string) => `docker rm --force ${name}`,
    network: (name: string) => `docker network rm ${name}`,
    volume: (name: string) => `docker volume rm ${name}`,
  }[kind];
  return there
    .filter(({ id, stack }) => stack === wanted.stack && !known.has(id))
    .map(({ name, installation }) => {
      const ours = installation === wanted.installation;
      return {
        kind,
        where: name,
        what: `unknown ${kind}`,
        expected: "not there",
        found: ours ? "made by this stack, not in its state" : "labelled as this stack's, made by something else",
        // `up` clears away what an interrupted command has left; it never removes a volume, nor what is another's.
        remedy: ours && kind !== "volume" ? remedies.cgraph("up") : remedy(name),
      };
    });
}

/** Everything in Docker that is not as the stack's state says. */
export function dockerDrift(wanted: WantedDocker, found: FoundDocker, remedies: Remedies): Finding[] {
  const byId = new Map(found.containers.map((container) => [container.id, container]));
  const containers = wanted.containers.flatMap((container) => {
    const there = byId.get(container.id);
    return there
      ? containerDrift(container, there, remedies)
      : [missingContainer(container, found.allContainers, remedies)];
  });
  const networkIds = new Set(found.networks.map(({ id }) => id));
  const volumeNames = new Set(found.volumes.map(({ name }) => name));
  const up = remedies.cgraph("up");
  return [
    ...containers,
    ...wanted.networks.filter(({ id }) => !networkIds.has(id)).map(({ name }) => gone("network", name, up)),
    ...wanted.volumes
      .filter((name) => !volumeNames.has(name))
      .map((name) =>
        gone("volume", name, holdsData(name) ? `${remedies.cgraph("down --delete-data")} # its data is lost` : up),
      ),
    ...wanted.images.filter(({ id }) => !found.images.includes(id)).map(({ name }) => gone("image", name, up)),
    ...unknown("container", found.allContainers, new Set(wanted.containers.map(({ id }) => id)), wanted, remedies),
    ...unknown("network", found.networks, new Set(wanted.networks.map(({ id }) => id)), wanted, remedies),
    ...unknown("volume", found.volumes, new Set(wanted.volumes), wanted, remedies),
  ];
}
