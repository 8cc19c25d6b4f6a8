/** HAProxy's configuration as pure text: routes to the primary, to replicas, to the pools. */

/** The router's name on the stack's network. */
export const ROUTER = "haproxy";
/** What leads from this machine's ports to the router's ways to shards. */
export const SHARD_PORTS = "shard-ports";

/** Ports inside of the stack's network. */
export const ROUTES = { write: 5432, read: 5433, pool: 6432, health: 8404 } as const;

/** A cluster beside the first. */
export interface RoutedCluster {
  /** shard1, global, …; coordinator, worker1, … */
  readonly name: string;
  readonly nodes: readonly string[];
  /** Ports inside of the stack's network; default: by its place in the list. */
  readonly ports?: { readonly write: number; readonly read: number };
}

/**
 * Ports inside of the stack's network that lead to a Citus cluster's coordinator, beside the cluster from which the stack moves to
 * it and afterwards: pools that lead there keep their way while all else changes.
 */
export const COORDINATOR_ROUTES = { write: 5438, read: 5439 } as const;

/** Ports inside of the stack's network that lead to the clusters beside the first, by their place in the list. */
export const clusterRoutes = (index: number): { readonly write: number; readonly read: number } =>
  clusterPorts(5440, index);

/** The same of a cluster at that place of the list. */
export const routesAt = ({ ports }: RoutedCluster, index: number): { readonly write: number; readonly read: number } =>
  ports ?? clusterRoutes(index);

/** Two ports for each of these clusters, from `first` on. */
export const clusterPorts = (first: number, index: number): { readonly write: number; readonly read: number } => ({
  write: first + 2 * index,
  read: first + 2 * index + 1,
});

/** Another region, as this one's router reaches it. */
export interface FarRegion {
  readonly name: string;
  /** This region's gateway, and its port that leads to the other's router: to the way of a cluster's writes, and to whether its primary is there. */
  readonly host: string;
  readonly ports: readonly { readonly write: number; readonly primaryHere: number }[];
}

/** Of a stack in several regions: what this one needs to know of the others. */
export interface RoutedRegions {
  /** Who says whether this region may take writes. */
  readonly guard: { readonly host: string; readonly port: number };
  readonly others: readonly FarRegion[];
}

/** The port that says other regions' routers whether a cluster's primary is here; clusters in the router's order, the first being 0. */
export const primaryHerePort = (cluster: number): number => 8410 + cluster;

export interface HaproxyArgs {
  /** PostgreSQL servers by their name on the network. */
  readonly nodes: readonly string[];
  readonly poolers: readonly string[];
  /** Further ports that lead to the first cluster; default none. */
  readonly alias?: { readonly write: number; readonly read: number };
  /** Clusters beside the first, each with routes of its own; default none. */
  readonly clusters?: readonly RoutedCluster[];
  /** Other regions; default none. */
  readonly regions?: RoutedRegions | undefined;
  /** Bytes of WAL that a replica may lack and still serve reads. */
  readonly maxReadLagBytes: number;
  readonly maxConnections: number;
}

/** Patroni says 200 of a leader that is still being promoted: only its role tells that it takes writes. */
const TAKES_WRITES = String.raw`(?s)^HTTP/1\.. 200 .*"role": "primary"`;
const ANSWERS_200 = String.raw`^HTTP/1\.. 200 `;

/** What every haproxy.cfg of ours begins with. */
const head = (maxConnections: number): string => `global
  maxconn ${maxConnections}
  log stdout format raw daemon notice
  stats socket /run/haproxy/admin.sock mode 600 level admin
  hard-stop-after 30m

defaults
  mode tcp
  log global
  timeout connect 2s
  # What fails three times costs a primary its clients' connections: a busy machine's Patroni may take seconds to answer. One
  # that is down refuses at once, and one that is silent keeps its lease for 20 seconds.
  timeout check 5s
  # PostgreSQL ends what it finds too long; an idle connection is a pool's, and may stay.
  timeout client 24h
  timeout server 24h
  option clitcpka
  option srvtcpka
  # At once: by default only the last of the retries, three seconds later, goes to another server.
  option redispatch 1
  retries 3

# Docker's own name server: a container that comes back may have another address.
resolvers docker
  nameserver docker 127.0.0.11:53
  resolve_retries 2
  timeout resolve 500ms
  timeout retry 500ms
  hold valid 1s
`;

/**
 * haproxy.cfg of what passes this machine's ports on to the router's ways to clusters. A container of its own: Docker publishes
 * ports of a container only when it is made, and the router, which clients hang on, must not be made anew for another shard.
 */
export const shardPortsConf = (clusters: readonly RoutedCluster[], maxConnections: number): string =>
  `${head(maxConnections)}
${clusters
  .flatMap((cluster, index) => Object.values(routesAt(cluster, index)))
  .map(
    (port) => `listen to-${port}
  bind :${port}
  server ${ROUTER} ${ROUTER}:${port} resolvers docker init-addr last,libc,none
`,
  )
  .join("\n")}
frontend health
  mode http
  bind :${ROUTES.health}
  timeout client 5s
  monitor-uri /healthy
`;

const CHECKS = "inter 1s fastinter 250ms downinter 250ms fall 3 rise 1";
const RESOLVED = "resolvers docker init-addr last,libc,none";

interface Backend {
  readonly name: string;
  readonly servers: readonly string[];
  /** What Patroni is asked, and what it must answer. */
  readonly uri: string;
  readonly expected: string;
  /** Options of connections. */
  readonly connections: string;
}

const backend = ({ name, servers, uri, expected, connections }: Backend): string => `backend ${name}
  balance leastconn
  option tcp-check
  tcp-check send "GET ${uri} HTTP/1.0\\r\\n\\r\\n"
  tcp-check expect rstring '${expected}'
  default-server ${CHECKS} ${connections} ca-file /run/cgraph-tls/ca.crt ${RESOLVED}
${servers
  .map((node) => `  server ${node} ${node}:5432 check port 8008 check-ssl verify required verifyhost ${node}`)
  .join("\n")}
`;

/** The ways to one cluster; `suffix` tells its names from the others', `index` is its place among the router's. */
interface Routes {
  readonly suffix: string;
  readonly index: number;
  readonly servers: readonly string[];
  readonly ports: { readonly write: number; readonly read: number };
  readonly alias?: { readonly write: number; readonly read: number } | undefined;
  readonly maxReadLagBytes: number;
}

/** Backends of a cluster that every region has. */
function clusterBackends({ suffix, servers, maxReadLagBytes }: Routes): string {
  const primary = backend({
    ...{ name: `primary${suffix}`, servers, uri: "/primary", expected: TAKES_WRITES },
    connections: "on-marked-down shutdown-sessions",
  });
  const replicas = backend({
    ...{ name: `replicas${suffix}`, servers, uri: `/replica?lag=${maxReadLagBytes}`, expected: ANSWERS_200 },
    connections: "tcp-ut 10s",
  });
  return `${primary}\n${replicas}`;
}

const bind = (port: number, alias: number | undefined): string =>
  `bind :${port}${alias === undefined ? "" : `\n  bind :${alias}`}`;

const routes = (one: Routes): string => `frontend write${one.suffix}
  ${bind(one.ports.write, one.alias?.write)}
  default_backend primary${one.suffix}

frontend read${one.suffix}
  ${bind(one.ports.read, one.alias?.read)}
  use_backend replicas${one.suffix} if { nbsrv(replicas${one.suffix}) gt 0 }
  default_backend primary${one.suffix}

${clusterBackends(one)}`;

/**
 * The same in one of several regions. Writes go to the primary here only while the region may take them; else to the region
 * where the primary is. Reads stay here as long as any server of this region is near enough.
 */
function regionalRoutes(one: Routes, { others }: RoutedRegions): string {
  const { suffix, index, ports, alias } = one;
  const here = `{ nbsrv(guard) gt 0 } { nbsrv(primary${suffix}) gt 0 }`;
  const far = others.map(({ name, host, ports: of }) => {
    const there = of[index];
    if (!there) throw new Error(`no way to cluster ${index} in ${name}`);
    return `  server ${name} ${host}:${there.write} check port ${there.primaryHere}\n`;
  });
  const local = backend({
    ...{ name: `local${suffix}`, servers: one.servers, uri: `/read-only?lag=${one.maxReadLagBytes}` },
    ...{ expected: ANSWERS_200, connections: "tcp-ut 10s" },
  });
  return `frontend write${suffix}
  ${bind(ports.write, alias?.write)}
  use_backend primary${suffix} if ${here}
  default_backend elsewhere${suffix}

frontend read${suffix}
  ${bind(ports.read, alias?.read)}
  use_backend replicas${suffix} if { nbsrv(replicas${suffix}) gt 0 }
  use_backend local${suffix} if { nbsrv(local${suffix}) gt 0 }
  default_backend elsewhere${suffix}

frontend primary-here${suffix}
  mode http
  bind :${primaryHerePort(index)}
  timeout client 5s
  monitor-uri /primary
  monitor fail if { nbsrv(guard) lt 1 }
  monitor fail if { nbsrv(primary${suffix}) lt 1 }

${clusterBackends(one)}
${local}
backend elsewhere${suffix}
  option httpchk GET /primary
  # A gateway that was replaced says no word to those who came through it: a standby would wait for hours.
  srvtcpka-idle 10s
  srvtcpka-intvl 3s
  srvtcpka-cnt 3
  # All behind one gateway: by default no two servers may have the same address.
  default-server ${CHECKS} on-marked-down shutdown-sessions tcp-ut 10s ${RESOLVED} resolve-opts allow-dup-ip
${far.join("")}`;
}

/**
 * haproxy.cfg of what has a Citus node's names in a region with several servers for each node: it leads to the one that leads
 * there, so that what has been asked of a node and what it is asked next come from the same server; while there is none, to any.
 */
export const nodeConf = (servers: readonly string[], maxConnections: number): string => `${head(maxConnections)}
frontend node
  bind :5432
  use_backend leader if { nbsrv(leader) gt 0 }
  default_backend local

${backend({ name: "leader", servers, uri: "/leader", expected: ANSWERS_200, connections: "on-marked-down shutdown-sessions" })}
${backend({ name: "local", servers, uri: "/read-only", expected: ANSWERS_200, connections: "tcp-ut 10s" })}
frontend health
  mode http
  bind :${ROUTES.health}
  timeout client 5s
  monitor-uri /healthy
  monitor fail if { nbsrv(leader) lt 1 } { nbsrv(local) lt 1 }
`;

const guardConf = ({ guard }: RoutedRegions): string => `
backend guard
  mode http
  option httpchk GET /writable
  default-server inter 500ms fall 2 rise 1 ${RESOLVED}
  server guard ${guard.host}:${guard.port} check
`;

/**
 * haproxy.cfg. Patroni's REST interface says who is primary and which replicas are near enough. A former primary loses its
 * connections at once, so that no client writes to it. A replica that falls behind gets no new ones, and keeps those it
 * has: cutting them would be an error for whoever reads. The pools let go of theirs within `server_lifetime`.
 */
export function haproxyConf(args: HaproxyArgs): string {
  const { nodes, poolers, clusters = [], regions, maxReadLagBytes, maxConnections, alias } = args;
  const ways = (one: Omit<Routes, "maxReadLagBytes">): string =>
    regions ? regionalRoutes({ ...one, maxReadLagBytes }, regions) : routes({ ...one, maxReadLagBytes });
  const others = clusters.map((cluster, index) =>
    ways({
      suffix: `-${cluster.name}`,
      ...{ index: index + 1, servers: cluster.nodes, ports: routesAt(cluster, index) },
    }),
  );
  return `${head(maxConnections)}
${ways({ suffix: "", index: 0, servers: nodes, ports: ROUTES, alias })}
${others.map((text) => `${text}\n`).join("")}frontend pool
  bind :${ROUTES.pool}
  default_backend poolers

backend poolers
  balance leastconn
  default-server ${CHECKS} check ${RESOLVED}
${poolers.map((pooler) => `  server ${pooler} ${pooler}:6432`).join("\n")}
${regions ? guardConf(regions) : ""}
frontend health
  mode http
  bind :${ROUTES.health}
  timeout client 5s
  monitor-uri /healthy
  monitor fail if { nbsrv(primary) lt 1 }${regions ? " { nbsrv(elsewhere) lt 1 }" : ""}
  http-request use-service prometheus-exporter if { path /metrics }
`;
}
