import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, type ExitCode } from "../../tuning/errors.ts";
import { type CacheState, cacheState } from "../lib/cacheState.ts";
import { type ClusterView, allNodes, regionalViews, regionsOf } from "../lib/clusters.ts";
import { type Member, clusterMembers, isCluster, isServing } from "../lib/cluster.ts";
import { containerStates } from "../lib/docker.ts";
import { type FiringAlert, firingAlerts } from "../lib/firingAlerts.ts";
import { type PoolState, poolStates } from "../lib/pooler.ts";
import { bytes, print, printJson, table } from "../lib/print.ts";
import { type RotationState, olderTable, rotationState } from "../rotate/sessions.ts";
import { type Lag, replicationLag } from "../lib/replication.ts";
import { citusStatus, citusTable } from "../citus/report.ts";
import { regionStates, regionTable } from "../regions/states.ts";
import { anyStackValues, openStack } from "../lib/stack.ts";

interface NodeStatus {
  readonly name: string;
  readonly role: string;
  readonly state: string;
  readonly lagBytes: number | null;
  readonly lagSeconds: number | null;
}

function nodeStatus(
  node: StackValues["nodes"][number],
  health: string,
  members: readonly Member[] | undefined,
  lags: readonly Lag[],
): NodeStatus {
  const lag = lags.find((one) => one.name === node.name);
  const lagBytes = lag?.bytes ?? null;
  const lagSeconds = lag?.seconds ?? null;
  if (!members) return { name: node.name, role: node.role, state: health, lagBytes, lagSeconds };
  const member = members.find((one) => one.name === node.name);
  const role = member?.role === "leader" ? "primary" : (member?.role ?? "unknown");
  const state = health === "healthy" && member ? (isServing(member) ? "healthy" : member.state) : health;
  return { name: node.name, role, state, lagBytes, lagSeconds };
}

/** What each cluster says of itself; nothing where one does not answer. */
const ofAll = async <T>(views: readonly ClusterView[], ask: (values: StackValues) => Promise<T[]>): Promise<T[]> =>
  (await Promise.all(views.map((view) => ask(view.values).catch(() => [])))).flat();

/** `status`: what runs, how large, who leads, who lags, and whether all is well. Exit 1 where a part is not. */
export async function status(flags: { stack: string; json?: boolean }): Promise<ExitCode> {
  const values = await anyStackValues(await openStack(flags.stack));
  if (values.target === "aws") {
    return (await import("../aws/status.ts")).statusAws(flags.stack, values, flags.json === true);
  }
  const services = [...values.services, { name: "backup", kind: "backup", container: values.backupContainer }];
  const containers = [...allNodes(values), ...services].map(({ container }) => container);
  const views = regionalViews(values);
  const regions = regionsOf(values) ? await regionStates(values) : undefined;
  const [states, members, lags, pools, cache, alerts, rotation, citus] = await Promise.all([
    containerStates(containers),
    isCluster(values) ? ofAll(views, clusterMembers) : undefined,
    isCluster(values) ? ofAll(views, replicationLag) : [],
    poolStates(values),
    cacheState(values),
    firingAlerts(values),
    rotationState(values).catch(() => null),
    citusStatus(values).catch(() => undefined),
  ]);
  const health = (container: string): string => {
    const state = states.find((one) => one.name === container);
    if (!state) return "missing";
    return state.status === "running" ? (state.health === "none" ? "running" : state.health) : state.status;
  };
  const nodes = allNodes(values).map((node) => ({
    ...node,
    ...nodeStatus(node, health(node.container), members, lags),
  }));
  const others = services.map((service) => ({ ...service, state: health(service.container) }));
  const backups = { container: values.backupContainer, state: health(values.backupContainer) };
  if (flags.json) {
    printJson({
      stack: flags.stack,
      stage: values.stage,
      target: values.target,
      postgresVersion: values.postgresVersion,
      nodes,
      services: others.filter(({ kind }) => kind !== "backup"),
      endpoints: values.endpoints,
      pools,
      cache,
      sharding: values.sharding,
      citus: citus ?? null,
      regions: regions ?? null,
      alerts,
      rotation,
      backups,
      notes: values.notes,
    });
  } else {
    printStatus(flags.stack, values, nodes, others, pools, cache);
    if (citus) print(citusTable(citus));
    else if (citus === undefined) print("shards: unknown, the coordinator or a worker does not answer");
    if (regions) print(regionTable(values, regions));
    printAlerts(values, alerts);
    printRotation(rotation);
  }
  const well = [...nodes, ...others].every(({ state }) => state === "healthy" || state === "running");
  const leads = ({ values: its }: ClusterView): boolean =>
    its.nodes.some(({ name }) =>
      nodes.some((node) => node.name === name && ["primary", "standby_leader"].includes(node.role)),
    );
  return well && views.every(leads) ? EXIT.done : EXIT.failed;
}

function printAlerts(values: StackValues, alerts: readonly FiringAlert[] | null): void {
  const { prometheus, alertmanager, grafana } = values.endpoints;
  if (!prometheus) return;
  const places = { Prometheus: prometheus, Alertmanager: alertmanager, Grafana: grafana };
  for (const [name, place] of Object.entries(places)) if (place) print(`${name}: http://${place.host}:${place.port}`);
  if (alerts === null) print("alerts: unknown, Prometheus does not answer");
  else if (alerts.length === 0) print("alerts: none");
  else
    print(
      table([
        ["alert", "severity", "what", "runbook"],
        ...alerts.map((a) => [a.name, a.severity, a.summary, a.runbook]),
      ]),
    );
}

function printRotation(rotation: RotationState | null): void {
  if (!rotation) return;
  const { phase, olderSessions } = rotation;
  if (phase === "accepting") {
    print("passwords: a rotation was interrupted; ./cgraph-db secrets rotate goes on");
    return;
  }
  print("passwords: new ones are in use, the old ones accepted until ./cgraph-db secrets rotate --finish");
  if (olderSessions.length === 0) print("nobody uses the old ones");
  else print(olderTable(olderSessions));
}

function printStatus(
  stack: string,
  values: StackValues,
  nodes: readonly (StackValues["nodes"][number] & NodeStatus)[],
  services: readonly { name: string; kind: string; state: string }[],
  pools: readonly PoolState[],
  cache: CacheState | null,
): void {
  print(`stack ${stack}, stage ${values.stage} on ${values.target}, PostgreSQL ${values.postgresVersion}`);
  print(
    table([
      ["server", "role", "state", "lag", "address", "CPUs", "memory", "shared_buffers", "connections", "data"],
      ...nodes.map((node) => [
        node.name,
        node.role,
        node.state,
        node.lagBytes === null ? "" : `${bytes(node.lagBytes)}, ${node.lagSeconds ?? 0} s`,
        `${node.host}:${node.port}`,
        String(node.cpus),
        `${node.memoryMiB} MiB`,
        node.settings["shared_buffers"] ?? "",
        node.settings["max_connections"] ?? "",
        node.dataVolume,
      ]),
      ...services.map(({ name, state }) => [name, "", state, "", "", "", "", "", "", ""]),
    ]),
  );
  if (pools.length > 0) {
    print(
      table([
        ["pool", "database", "user", "clients", "waiting", "servers in use", "idle"],
        ...pools.map((pool) => [
          pool.pooler,
          pool.database,
          pool.user,
          String(pool.clientsActive),
          pool.clientsWaiting === 0 ? "0" : `${pool.clientsWaiting}, ${pool.waitSeconds} s`,
          String(pool.serversActive),
          String(pool.serversIdle),
        ]),
      ]),
    );
  }
  if (cache) {
    print(
      `cache: ${bytes(cache.usedBytes)} of ${bytes(cache.maxBytes)}, ${cache.keys} keys, hit ratio ${cache.hitRatio === null ? "unknown" : `${(cache.hitRatio * 100).toFixed(1)} %`}, ${cache.evicted} evicted`,
    );
  }
  for (const text of values.notes) print(`note: ${text}`);
}
