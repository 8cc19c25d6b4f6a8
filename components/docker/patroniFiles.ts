/** Patroni's configuration as pure data: what is the cluster's (in etcd) and what is each server's own (patroni.yml). */
import { stringify } from "yaml";
import type { PostgresMajor } from "../../tuning/hardware.ts";
import { type Settings, confText } from "../../tuning/setting.ts";
import { HBA_RULES, IMAGE_SETTINGS, clientRule } from "./postgresFiles.ts";

const NAMESPACE = "/cgraph/";
const TLS = "/run/cgraph-tls";

/** How writes are acknowledged: by the primary alone, by a replica too while there is one, or by a replica always. */
export type Synchronous = "off" | "on" | "strict";

/** A node's place in a Citus cluster, whose nodes share one scope. */
export interface CitusGroup {
  /** 0: the coordinator's; 1, 2, …: the workers'. */
  readonly group: number;
  readonly database: string;
}

/** The key under which the cluster's configuration lies in etcd; `group`: of a Citus cluster's node. */
export const configKey = (scope: string, group?: number): string =>
  `${NAMESPACE}${scope}/${group === undefined ? "" : `${group}/`}config`;

/** Seconds. ttl is Patroni's shortest; loop + 2 × retry must stay within it. */
const LEASE = { ttl: 20, loop_wait: 2, retry_timeout: 8 } as const;

/** Whom a cluster follows that is not where the primary is, as Patroni's configuration has it. */
export interface StandbyUpstream {
  readonly host: string;
  readonly port: number;
  readonly create_replica_methods: readonly string[];
}

/**
 * Follows whatever is behind that address. The first of the methods does nothing but to say that none needs a server of the
 * cluster's own: without it, one that has lost its last copy would wait for ever for somebody to make it.
 */
export const standbyUpstream = (host: string, port: number): StandbyUpstream => ({
  ...{ host, port, create_replica_methods: ["alone", "basebackup"] },
});
const ALONE = { command: "/bin/false", no_leader: true, no_params: true };

export interface ClusterConfigArgs {
  readonly settings: Settings;
  readonly synchronous: Synchronous;
  /** Logical slots that outlive a failover: database and output plugin by slot name. */
  readonly slots: Readonly<Record<string, { readonly database: string; readonly plugin: string }>>;
  /** Databases that clients reach beside the application's; default none. */
  readonly databases?: readonly string[];
  /** Whom it follows from the beginning; default nobody. Later this is the region's agent's to say. */
  readonly upstream?: StandbyUpstream | undefined;
  /** Rules of pg_hba.conf and pg_ident.conf instead of the usual; default: those of a database that is one server's. */
  readonly rules?: { readonly hba: readonly string[]; readonly ident: readonly string[] } | undefined;
  /** Whether it is a Citus cluster's node without Patroni knowing; default false. */
  readonly standsForNode?: boolean;
}

/** The cluster's configuration: who may lead, and the settings of all its servers. Patroni applies a change at once. */
export function clusterConfig({
  settings,
  synchronous,
  slots,
  databases = [],
  upstream,
  rules,
  standsForNode = false,
}: ClusterConfigArgs): Record<string, unknown> {
  return {
    ...LEASE,
    // A replica further behind than the guide's warning (1 MB) does not take over: that much could be lost.
    maximum_lag_on_failover: 1024 * 1024,
    check_timeline: true,
    // While etcd is away, a primary that reaches all its replicas goes on.
    failsafe_mode: true,
    // A primary that has crashed hands over rather than replaying its WAL first.
    primary_start_timeout: 0,
    synchronous_mode: synchronous !== "off",
    synchronous_mode_strict: synchronous === "strict",
    synchronous_node_count: 1,
    slots: Object.fromEntries(Object.entries(slots).map(([name, slot]) => [name, { type: "logical", ...slot }])),
    // Slots of subscribers and of data moves are theirs: Patroni drops none that it does not know.
    ignore_slots: [{ type: "logical" }],
    ...(upstream && { standby_cluster: upstream }),
    postgresql: {
      use_pg_rewind: true,
      use_slots: true,
      // A server that can be neither rewound nor followed is copied anew.
      remove_data_directory_on_rewind_failure: true,
      remove_data_directory_on_diverged_timelines: true,
      parameters: {
        ...IMAGE_SETTINGS,
        ...Object.fromEntries(Object.entries(settings).map(([name, setting]) => [name, confText(setting)])),
        // What Patroni sets where it knows: a node reaches itself by its socket.
        ...(standsForNode && { "citus.local_hostname": IMAGE_SETTINGS["unix_socket_directories"] }),
      },
      pg_hba: rules?.hba ?? [...HBA_RULES, ...databases.map(clientRule)],
      ...(rules && { pg_ident: rules.ident }),
      // A replica that has fallen behind its slot reads what it lacks from the archive.
      recovery_conf: { restore_command: 'pgbackrest archive-get %f "%p"' },
    },
  };
}

/** How a server logs in to another. */
export interface PatroniLogin {
  readonly username: string;
  readonly password: string;
}

export interface PatroniYamlArgs {
  readonly scope: string;
  /** This server; its name on the stack's network too. */
  readonly node: string;
  /** What follows the name where others reach it; default nothing. */
  readonly domain?: string;
  readonly etcdMembers: readonly string[];
  readonly postgresVersion: PostgresMajor;
  readonly replication: PatroniLogin;
  readonly rewind: PatroniLogin;
  /** How this server makes a new cluster where there is none, if it may: exactly one may. */
  readonly bootstrap: "initdb" | "restore" | undefined;
  /** Whether it is of a stack in several regions. */
  readonly regional: boolean;
  /** Its place in a Citus cluster; default: it is none's. */
  readonly citus?: CitusGroup | undefined;
  /** What the cluster's configuration is before there is one in etcd. */
  readonly cluster: Record<string, unknown>;
}

/** patroni.yml of one server. Holds passwords. */
export function patroniYaml(args: PatroniYamlArgs): string {
  const { node, postgresVersion } = args;
  const address = args.domain === undefined ? node : `${node}.${args.domain}`;
  const verified = { sslmode: "verify-full", sslrootcert: `${TLS}/ca.crt` };
  return stringify({
    scope: args.scope,
    namespace: NAMESPACE,
    name: node,
    ...(args.citus && { citus: args.citus }),
    restapi: {
      listen: "0.0.0.0:8008",
      connect_address: `${address}:8008`,
      certfile: `${TLS}/server.crt`,
      keyfile: `${TLS}/server.key`,
      cafile: `${TLS}/ca.crt`,
      // Anyone on the network may ask how the server is; only holders of a certificate of ours may tell it something.
      verify_client: "optional",
    },
    ctl: { certfile: `${TLS}/server.crt`, keyfile: `${TLS}/server.key`, cacert: `${TLS}/ca.crt` },
    etcd3: {
      hosts: args.etcdMembers.map((member) => `${member}:2379`),
      protocol: "https",
      cacert: `${TLS}/ca.crt`,
      cert: `${TLS}/server.crt`,
      key: `${TLS}/server.key`,
    },
    postgresql: {
      listen: "*:5432",
      connect_address: `${address}:5432`,
      data_dir: `/var/lib/postgresql/${postgresVersion}/data`,
      bin_dir: `/usr/lib/postgresql/${postgresVersion}/bin`,
      pgpass: "/tmp/pgpass",
      use_unix_socket: true,
      use_unix_socket_repl: true,
      authentication: {
        superuser: { username: "postgres" },
        replication: { ...args.replication, ...verified },
        rewind: { ...args.rewind, ...verified },
      },
      basebackup: [{ checkpoint: "fast" }],
      ...(args.regional && { alone: ALONE }),
      callbacks: { on_start: "/usr/local/bin/cgraph-callback", on_role_change: "/usr/local/bin/cgraph-callback" },
    },
    ...(args.bootstrap !== undefined
      ? {
          bootstrap: {
            dcs: args.cluster,
            // Before it is Citus' at all: what the coordinator has, each node that joins is given, the database's owner and
            // rights among it.
            ...(args.citus && { post_init: "/usr/local/bin/cgraph-bootstrap" }),
            ...(args.bootstrap === "restore" && {
              method: "restore",
              restore: { command: "/usr/local/bin/cgraph-recover", no_params: true },
            }),
            initdb: [
              { encoding: "UTF8" },
              { locale: "C.UTF-8" },
              ...(postgresVersion >= 17 ? [{ "locale-provider": "builtin" }, { "builtin-locale": "C.UTF-8" }] : []),
              "data-checksums",
            ],
          },
        }
      : {}),
    tags: {},
  });
}
