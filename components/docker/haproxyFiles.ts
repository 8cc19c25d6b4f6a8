/** HAProxy's configuration as pure text: routes to the primary, to replicas, to the pools. */

/** The router's name on the stack's network. */
export const ROUTER = "haproxy";
/** What leads from this machine's ports to the router's ways to shards. */
export const SHARD_PORTS = "shard-ports";

/** Ports inside of the stack's network. */
export const ROUTES = { write: 5432, read: 5433, pool: 6432, health: 8404 } as const;

/** A cluster beside the first. */
export interface RoutedCluster {
  /** shard1, global, … */
  readonly name: string;
  readonly nodes: readonly string[];
}

/** Ports inside of the stack's network that lead to the clusters beside the first, by their place in the list. */
export const clusterRoutes = (index: number): { readonly write: number; readonly read: number } =>
  clusterPorts(5440, index);

/** Two ports for each of these clusters, from `first` on. */
export const clusterPorts = (first: number, index: number): { readonly write: number; readonly read: number } => ({
  write: first + 2 * index,
  read: first + 2 * index + 1,
});

export interface HaproxyArgs {
  /** PostgreSQL servers by their name on the network. */
  readonly nodes: readonly string[];
  readonly poolers: readonly string[];
  /** Clusters beside the first, each with routes of its own; default none. */
  readonly clusters?: readonly RoutedCluster[];
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
  timeout check 2s
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
export const shardPortsConf = (clusters: number, maxConnections: number): string =>
  `${head(maxConnections)}
${Array.from({ length: clusters }, (_, index) => Object.values(clusterRoutes(index)))
  .flat()
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

/**
 * haproxy.cfg. Patroni's REST interface says who is primary and which replicas are near enough. A former primary loses its
 * connections at once, so that no client writes to it. A replica that falls behind gets no new ones, and keeps those it
 * has: cutting them would be an error for whoever reads. The pools let go of theirs within `server_lifetime`.
 */
export function haproxyConf({ nodes, poolers, clusters = [], maxReadLagBytes, maxConnections }: HaproxyArgs): string {
  const backend = (
    { name, servers }: { name: string; servers: readonly string[] },
    uri: string,
    expected: string,
    connections: string,
  ): string => `backend ${name}
  balance leastconn
  option tcp-check
  tcp-check send "GET ${uri} HTTP/1.0\\r\\n\\r\\n"
  tcp-check expect rstring '${expected}'
  default-server inter 1s fastinter 250ms downinter 250ms fall 2 rise 1 ${connections} ca-file /run/cgraph-tls/ca.crt resolvers docker init-addr last,libc,none
${servers
  .map((node) => `  server ${node} ${node}:5432 check port 8008 check-ssl verify required verifyhost ${node}`)
  .join("\n")}
`;
  /** The ways to one cluster; `suffix` tells its names from the others'. */
  const routes = (suffix: string, servers: readonly string[], ports: { write: number; read: number }): string => {
    const [primary, replicas] = [`primary${suffix}`, `replicas${suffix}`];
    return `frontend write${suffix}
  bind :${ports.write}
  default_backend ${primary}

frontend read${suffix}
  bind :${ports.read}
  use_backend ${replicas} if { nbsrv(${replicas}) gt 0 }
  default_backend ${primary}

${backend({ name: primary, servers }, "/primary", TAKES_WRITES, "on-marked-down shutdown-sessions")}
${backend({ name: replicas, servers }, `/replica?lag=${maxReadLagBytes}`, ANSWERS_200, "tcp-ut 10s")}`;
  };
  return `${head(maxConnections)}
${routes("", nodes, ROUTES)}
${clusters.map((cluster, index) => `${routes(`-${cluster.name}`, cluster.nodes, clusterRoutes(index))}\n`).join("")}frontend pool
  bind :${ROUTES.pool}
  default_backend poolers

backend poolers
  balance leastconn
  default-server inter 1s fastinter 250ms downinter 250ms fall 2 rise 1 check resolvers docker init-addr last,libc,none
${poolers.map((pooler) => `  server ${pooler} ${pooler}:6432`).join("\n")}

frontend health
  mode http
  bind :${ROUTES.health}
  timeout client 5s
  monitor-uri /healthy
  monitor fail if { nbsrv(primary) lt 1 }
  http-request use-service prometheus-exporter if { path /metrics }
`;
}
