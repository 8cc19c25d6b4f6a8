/** What a change of Docker's resources means. */
import { type Change, resourceName, topLevel } from "./change.ts";
import { type Clients, type Effect, isDestroyed, plain } from "./effect.ts";

/** A one-shot container that writes a configuration anew, which its server then reads. */
const writesConfig = (name: string): boolean => /(-writer|^cluster-config)$/.test(name);

/** What clients notice when a container stops, by its name. */
// What belongs to another cluster or region begins with its name.
const ROLES: readonly (readonly [RegExp, Clients, string])[] = [
  // Names do not say who leads.
  [
    /^(.+-)?pg\d+$/,
    "writes pause",
    "if it has the writes, they wait until it is back, or another server has taken over",
  ],
  [/^(.+-)?(haproxy|pgbouncer\d+)$/, "reconnect", ""],
  [/^redis$/, "reconnect", "the cache's clients only; it begins empty"],
  // Without etcd the primary goes on for as long as it reaches its replicas (Patroni's failsafe mode).
  [/^(.+-)?(etcd\d+|backup|cache-sync)$/, "nothing", ""],
];

/** Arguments that the Docker provider changes while the container runs, or only remembers; all others make it anew. */
const IN_PLACE = new Set([
  ...["memory", "memorySwap", "cpuShares", "cpuSet", "restart", "maxRetryCount"],
  ...["attach", "containerReadRefreshTimeoutMilliseconds", "destroyGraceSeconds", "healthcheck", "logs", "mustRun"],
  ...["removeVolumes", "rm", "start", "wait", "waitTimeout"],
]);

function container(change: Change): Effect {
  const name = resourceName(change.urn);
  const { op, properties, before, after } = change;
  if (op === "create") return plain(change);
  if (writesConfig(name)) return op === "delete" ? plain(change) : { happens: "reload", clients: "nothing", why: "" };
  const runsOn = properties.length > 0 && properties.every(({ path }) => IN_PLACE.has(topLevel(path)));
  if (op === "update" && runsOn) {
    const shrinks = Number(after["memory"]) < Number(before["memory"]);
    return { ...plain(change), why: shrinks ? "less memory at once; its settings follow when it restarts" : "" };
  }
  const [, clients, role] = ROLES.find(([pattern]) => pattern.test(name)) ?? [undefined, "reconnect", ""];
  const anew = op === "replace" ? "its container is made anew; its data stays in its volume" : "";
  return {
    happens: op === "delete" ? "delete" : "restart",
    clients,
    why: [anew, role].filter((text) => text !== "").join("; "),
  };
}

/** What a change of a resource of Docker's, or of a secret, means. */
export function dockerEffect(change: Change): Effect {
  if (change.type.endsWith(":Container")) return container(change);
  if (change.type === "docker:index/network:Network" && isDestroyed(change)) {
    return { ...plain(change), clients: "writes pause", why: "nothing on it reaches the others meanwhile" };
  }
  // Neither volumes nor secrets have anything that changes in place: if one says so, it is not known what that does.
  if (change.stateful && change.op === "update") {
    const paths = change.properties.map(({ path }) => path);
    return { happens: "change", clients: "writes pause", why: `${paths.join(", ")}: not known to be harmless` };
  }
  return plain(change);
}
