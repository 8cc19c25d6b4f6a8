/**
 * Changes in Docker, and what each means: the Docker provider makes a container anew for everything but its limits, its
 * restart policy and how it is awaited; settings lie in files that servers read again by themselves; data is in volumes.
 */
import type { Expected, Inputs, Scenario } from "./scenario.ts";

const HARMLESS: Expected = { happens: "change", clients: "nothing", unsafe: false, verdict: "safe" };
const ADDED: Expected = { ...HARMLESS, happens: "create" };
const RELOAD: Expected = { ...HARMLESS, happens: "reload" };
/** The only server, or one that may have the writes. */
const SERVER: Expected = { happens: "restart", clients: "writes pause", unsafe: false, verdict: "restarts" };
/** What clients go through. */
const WAY: Expected = { happens: "restart", clients: "reconnect", unsafe: false, verdict: "restarts" };
/** What stands beside the way. */
const BESIDE: Expected = { happens: "restart", clients: "nothing", unsafe: false, verdict: "safe" };
const LOST: Expected = { happens: "replace", clients: "writes pause", unsafe: true, verdict: "unsafe" };
const DATA_GOES: Expected = { happens: "delete", clients: "writes pause", unsafe: true, verdict: "unsafe" };
const NOTHING: Expected = { happens: null, clients: "nothing", unsafe: false, verdict: "none" };

const set = (inputs: Inputs) => (): Inputs => inputs;
/** Other inputs of one container. */
const container = (name: string, inputs: Inputs) => ({ inputs: { [`Container ${name}`]: set(inputs) } });
/** One more variable in a container's environment. */
const env = (name: string) => ({
  inputs: {
    [`Container ${name}`]: ({ envs }: Inputs): Inputs => ({ envs: [...(envs as unknown[]), "CGRAPH_NEW=1"] }),
  },
});
const TMPFS = { driverOpts: { type: "tmpfs", device: "tmpfs" } };
const volume = (name: string) => ({ inputs: { [`Volume ${name}`]: set(TMPFS) } });
const PG0 = "Container pg0";
const PG0_CONFIG = "Container pg0-config-writer";

const server: readonly Scenario[] = [
  {
    name: "server-image",
    stage: 1,
    changed: "baseImage, and so the server's image",
    about: PG0,
    change: { config: { baseImage: "debian:trixie" } },
    expected: SERVER,
  },
  {
    // The server does not start on another version's data; it is still there.
    name: "server-version",
    stage: 1,
    changed: "postgresVersion from 17 to 16",
    about: PG0,
    change: { config: { postgresVersion: "16" } },
    expected: SERVER,
  },
  {
    name: "server-memory",
    stage: 1,
    changed: "memory of the server",
    about: PG0,
    change: container("pg0", { memory: 3072, memorySwap: 3072 }),
    expected: HARMLESS,
  },
  {
    // Docker could, but the provider does not: it makes the container anew.
    name: "server-cpus",
    stage: 1,
    changed: "CPUs of the server",
    about: PG0,
    change: container("pg0", { cpus: "1.5" }),
    expected: SERVER,
  },
  {
    name: "server-restart-policy",
    stage: 1,
    changed: "restart policy of the server's container",
    about: PG0,
    change: container("pg0", { restart: "always" }),
    expected: HARMLESS,
  },
  {
    name: "server-grace",
    stage: 1,
    changed: "destroyGraceSeconds of the server's container",
    about: PG0,
    change: container("pg0", { destroyGraceSeconds: 60 }),
    expected: HARMLESS,
  },
  {
    name: "server-port",
    stage: 1,
    changed: "port",
    about: PG0,
    change: { config: { port: "15432" } },
    expected: SERVER,
  },
  {
    name: "server-env",
    stage: 1,
    changed: "environment of the server",
    about: PG0,
    change: env("pg0"),
    expected: SERVER,
  },
  {
    name: "server-command",
    stage: 1,
    changed: "command of the server",
    about: PG0,
    change: container("pg0", { command: ["postgres", "--new"] }),
    expected: SERVER,
  },
  {
    name: "server-stop-timeout",
    stage: 1,
    changed: "stopTimeout of the server",
    about: PG0,
    change: container("pg0", { stopTimeout: 60 }),
    expected: SERVER,
  },
  {
    name: "server-log-options",
    stage: 1,
    changed: "size of the server's log",
    about: PG0,
    change: container("pg0", { logOpts: { "max-size": "10m", "max-file": "4" } }),
    expected: SERVER,
  },
  {
    // The provider remembers it only; the container keeps the check that it was made with.
    name: "server-health",
    stage: 1,
    changed: "interval of the server's health check",
    about: PG0,
    change: {
      inputs: {
        [PG0]: ({ healthcheck }) => ({ healthcheck: { ...(healthcheck as Inputs), interval: "2s" } }),
      },
    },
    expected: HARMLESS,
  },
  {
    name: "server-shared-memory",
    stage: 1,
    changed: "shmSize of the server",
    about: PG0,
    change: container("pg0", { shmSize: 1024 }),
    expected: SERVER,
  },
  {
    name: "setting-dynamic",
    stage: 1,
    changed: "work_mem",
    about: PG0_CONFIG,
    change: { config: { settings: '{"work_mem": "5MB"}' } },
    expected: RELOAD,
  },
  {
    // It waits for `config apply`: nothing restarts before.
    name: "setting-static",
    stage: 1,
    changed: "maxConnections",
    about: PG0_CONFIG,
    change: { config: { maxConnections: "50" } },
    expected: RELOAD,
  },
];

const data: readonly Scenario[] = [
  {
    name: "data-volume-replaced",
    stage: 1,
    changed: "driver options of the data volume",
    about: "Volume pg0-data",
    change: volume("pg0-data"),
    expected: LOST,
  },
  {
    name: "backups-volume-replaced",
    stage: 1,
    changed: "driver options of the backups' volume",
    about: "Volume backups",
    change: volume("backups"),
    expected: LOST,
  },
  {
    // Clients verify servers by the authority on it.
    name: "tls-volume-replaced",
    stage: 1,
    changed: "driver options of the volume with the certificate authority",
    about: "Volume tls",
    change: volume("tls"),
    expected: LOST,
  },
  {
    // Written anew by the one-shot; the server's container is made anew with it.
    name: "config-volume-replaced",
    stage: 1,
    changed: "driver options of the volume with the server's configuration",
    about: "Volume pg0-config",
    change: volume("pg0-config"),
    expected: { happens: "replace", clients: "nothing", unsafe: false, verdict: "restarts" },
  },
  {
    name: "volume-labels",
    stage: 1,
    changed: "labels of the data volume, which are ignored",
    about: "Volume pg0-data",
    change: { inputs: { "Volume pg0-data": set({ labels: [] }) } },
    expected: NOTHING,
  },
  {
    name: "data-generation-added",
    stage: 1,
    changed: "dataGenerations from [1] to [1, 2], as restore does",
    about: PG0,
    change: { config: { dataGenerations: "[1, 2]" } },
    expected: SERVER,
  },
  {
    name: "data-generation-removed",
    stage: 1,
    changed: "dataGenerations from [1, 2] to [2]",
    about: "Volume pg0-data",
    before: { config: { dataGenerations: "[1, 2]" } },
    change: { config: { dataGenerations: "[2]" } },
    expected: DATA_GOES,
  },
  {
    name: "password-keepers",
    stage: 1,
    changed: "keepers of the application's password",
    about: "RandomPassword password-cgraph",
    change: { inputs: { "RandomPassword password-cgraph": set({ keepers: { year: "2027" } }) } },
    expected: LOST,
  },
  {
    name: "backup-key-length",
    stage: 1,
    changed: "length of the backups' key",
    about: "RandomPassword backup-key",
    change: { inputs: { "RandomPassword backup-key": set({ length: 64 }) } },
    expected: LOST,
  },
  {
    name: "installation-id",
    stage: 1,
    changed: "length of the id that says whose the volumes are",
    about: "RandomId installation",
    change: { inputs: { "RandomId installation": set({ byteLength: 16 }) } },
    expected: LOST,
  },
  {
    // Every container loses its way to the others, and most are made anew.
    name: "network-replaced",
    stage: 1,
    changed: "addresses of the network",
    about: "Network network",
    change: { inputs: { "Network network": set({ ipamConfigs: [{ subnet: "10.213.7.0/24" }] }) } },
    expected: { happens: "replace", clients: "writes pause", unsafe: false, verdict: "restarts" },
  },
];

const beside: readonly Scenario[] = [
  {
    name: "backup-interval",
    stage: 1,
    changed: "backupIntervalHours from 24 to 12",
    about: "Container backup",
    change: { config: { backupIntervalHours: "12" } },
    expected: BESIDE,
  },
  {
    name: "backup-retention",
    stage: 1,
    changed: "backupRetentionDays from 7 to 30",
    about: "Container backup",
    change: { config: { backupRetentionDays: "30" } },
    expected: BESIDE,
  },
  {
    name: "backup-memory",
    stage: 1,
    changed: "memory of the backups' container",
    about: "Container backup",
    change: container("backup", { memory: 768, memorySwap: 768 }),
    expected: HARMLESS,
  },
  {
    // While etcd is away for seconds, the primary goes on.
    name: "etcd-members-grow",
    stage: 2,
    changed: "etcdMembers from 1 to 3",
    about: "Container etcd0",
    change: { config: { etcdMembers: "3" } },
    expected: BESIDE,
  },
  {
    name: "etcd-env",
    stage: 2,
    changed: "environment of etcd",
    about: "Container etcd0",
    change: env("etcd0"),
    expected: BESIDE,
  },
  {
    name: "cache-sync-env",
    stage: 3,
    changed: "environment of what keeps the cache in step",
    about: "Container cache-sync",
    change: env("cache-sync"),
    expected: BESIDE,
  },
];

const WIDE = { config: { replicas: "2", poolers: "2", etcdMembers: "3" } };
const cluster: readonly Scenario[] = [
  {
    name: "cluster-setting",
    stage: 2,
    changed: "work_mem in a cluster",
    about: "Container cluster-config",
    change: { config: { settings: '{"work_mem": "5MB"}' } },
    expected: RELOAD,
  },
  {
    name: "cluster-synchronous",
    stage: 2,
    changed: "synchronous to on",
    about: "Container cluster-config",
    change: { config: { synchronous: "on" } },
    expected: RELOAD,
  },
  {
    // Which of the servers has the writes is not the plan's to know.
    name: "replica-env",
    stage: 2,
    changed: "environment of a replica",
    about: "Container pg1",
    change: env("pg1"),
    expected: SERVER,
  },
  {
    name: "replica-memory",
    stage: 2,
    changed: "memory of a replica",
    about: "Container pg1",
    change: container("pg1", { memory: 3072, memorySwap: 3072 }),
    expected: HARMLESS,
  },
  {
    name: "replica-added",
    stage: 2,
    changed: "replicas from 1 to 2, each with less memory",
    about: "Container pg2",
    change: { config: { replicas: "2" } },
    expected: ADDED,
  },
  {
    name: "replica-removed",
    stage: 2,
    changed: "replicas from 2 to 1",
    about: "Volume pg2-data",
    before: WIDE,
    change: { config: { replicas: "1" } },
    expected: { ...DATA_GOES, mayLeave: true },
  },
  {
    // Who is left of three has no majority, and nobody leads.
    name: "etcd-members-shrink",
    stage: 2,
    changed: "etcdMembers from 3 to 1",
    about: "Volume etcd1-data",
    before: WIDE,
    change: { config: { etcdMembers: "1" } },
    expected: DATA_GOES,
  },
  {
    name: "pooler-added",
    stage: 2,
    changed: "poolers from 1 to 2",
    about: "Container pgbouncer1",
    change: { config: { poolers: "2" } },
    expected: ADDED,
  },
  {
    name: "pooler-removed",
    stage: 2,
    changed: "poolers from 2 to 1",
    about: "Container pgbouncer1",
    before: WIDE,
    change: { config: { poolers: "1" } },
    expected: { happens: "delete", clients: "reconnect", unsafe: false, verdict: "restarts" },
  },
  {
    name: "pool-size",
    stage: 2,
    changed: "poolSize to 5",
    about: "Container pgbouncer0-config-writer",
    change: { config: { poolSize: "5" } },
    expected: RELOAD,
  },
  {
    name: "pooler-env",
    stage: 2,
    changed: "environment of a pooler",
    about: "Container pgbouncer0",
    change: env("pgbouncer0"),
    expected: WAY,
  },
  {
    name: "services-image",
    stage: 2,
    changed: "image of etcd, HAProxy and PgBouncer",
    about: "Container haproxy",
    change: { inputs: { "RemoteImage services-image": set({ name: "cgraph-services:other" }) } },
    expected: WAY,
  },
  {
    name: "router-read-lag",
    stage: 2,
    changed: "maxReadLagMiB",
    about: "Container haproxy-config-writer",
    change: { config: { maxReadLagMiB: "32" } },
    expected: RELOAD,
  },
  {
    name: "router-port",
    stage: 2,
    changed: "poolPort",
    about: "Container haproxy",
    change: { config: { poolPort: "16432" } },
    expected: WAY,
  },
  {
    name: "router-memory",
    stage: 2,
    changed: "memory of the router",
    about: "Container haproxy",
    change: container("haproxy", { memory: 1024, memorySwap: 1024 }),
    expected: HARMLESS,
  },
];

const cache: readonly Scenario[] = [
  {
    name: "redis-memory",
    stage: 3,
    changed: "cacheMemoryMiB to 2048: more",
    about: "Container redis",
    change: { config: { cacheMemoryMiB: "2048" } },
    expected: HARMLESS,
  },
  {
    name: "redis-port",
    stage: 3,
    changed: "cachePort",
    about: "Container redis",
    change: { config: { cachePort: "16379" } },
    expected: WAY,
  },
  {
    name: "redis-env",
    stage: 3,
    changed: "environment of Redis",
    about: "Container redis",
    change: env("redis"),
    expected: WAY,
  },
  {
    name: "cache-password-keepers",
    stage: 3,
    changed: "keepers of the cache's password",
    about: "RandomPassword password-cache",
    change: { inputs: { "RandomPassword password-cache": set({ keepers: { year: "2027" } }) } },
    expected: LOST,
  },
  {
    // Partitions are the commands' to make, not a resource's.
    name: "messages-premake",
    stage: 3,
    changed: "messagesPremakeMonths",
    about: PG0,
    change: { config: { messagesPremakeMonths: "6" } },
    expected: NOTHING,
  },
];

const stages: readonly Scenario[] = [
  {
    name: "stage-1-to-2-prepared",
    stage: 1,
    changed: "stage to 2, prepared beside the server that runs",
    about: "Container haproxy",
    change: { config: { stage: "2", phase: "prepare" } },
    expected: ADDED,
  },
  {
    name: "stage-1-to-2",
    stage: 1,
    changed: "stage to 2",
    about: PG0,
    change: { config: { stage: "2" } },
    expected: SERVER,
  },
  {
    name: "stage-2-to-3",
    stage: 2,
    changed: "stage to 3",
    about: "Container redis",
    change: { config: { stage: "3" } },
    expected: ADDED,
  },
  {
    // A host with more cores than the smaller stage's servers use gives them more: the provider makes them anew.
    name: "stage-2-to-3-with-more-cpus",
    stage: 2,
    changed: "stage to 3, with more CPUs for the servers",
    about: PG0,
    change: { config: { stage: "3" }, inputs: { [PG0]: set({ cpus: "8.0" }), "Container pg1": set({ cpus: "8.0" }) } },
    expected: SERVER,
  },
  {
    name: "stage-3-to-2",
    stage: 3,
    changed: "stage to 2",
    about: "Container redis",
    change: { config: { stage: "2" } },
    expected: { happens: "delete", clients: "reconnect", unsafe: true, verdict: "unsafe", mayLeave: true },
  },
  {
    name: "stage-2-to-1",
    stage: 2,
    changed: "stage to 1",
    about: PG0,
    change: { config: { stage: "1" } },
    expected: { ...SERVER, unsafe: true, verdict: "unsafe", mayLeave: true },
  },
  {
    name: "replica-removed-of-three",
    stage: 3,
    changed: "replicas from 3 to 2",
    about: "Container pg3",
    change: { config: { replicas: "2" } },
    expected: { ...DATA_GOES, mayLeave: true },
  },
];

export const DOCKER_SCENARIOS: readonly Scenario[] = [...server, ...data, ...beside, ...cluster, ...cache, ...stages];
