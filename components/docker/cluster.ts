import * as pulumi from "@pulumi/pulumi";
import type { PostgresMajor } from "../../tuning/hardware.ts";
import type { Settings } from "../../tuning/setting.ts";
import type { Credentials } from "../Credentials.ts";
import { oneShot } from "./ConfigFiles.ts";
import type { NodeRules } from "./citusFiles.ts";
import type { Site } from "./DockerSite.ts";
import { etcdContainer } from "./etcdContainer.ts";
import { dockerName } from "./names.ts";
import {
  type CitusGroup,
  type StandbyUpstream,
  type Synchronous,
  clusterConfig,
  configKey,
  patroniYaml,
} from "./patroniFiles.ts";

export interface ClusterArgs {
  readonly site: Site;
  readonly credentials: Credentials;
  readonly postgresVersion: PostgresMajor;
  /** Name of the cluster in etcd. A restore makes a new one: the old one's WAL positions mean nothing to it. */
  readonly scope: string;
  /** Members of etcd: 1 or 3. */
  readonly etcdMembers: number;
  /** The server that makes the database where there is none. */
  readonly firstNode: string;
  readonly settings: Settings;
  readonly synchronous: Synchronous;
  readonly slots: Readonly<Record<string, { readonly database: string; readonly plugin: string }>>;
  /** Whether that server begins with what the repository has instead of an empty database; default false. */
  readonly restores?: boolean;
  /** Names by which clients reach the servers through the router. */
  readonly routerNames: readonly string[];
  /** Databases that clients reach beside the application's; default none. */
  readonly databases?: readonly string[];
  /** Of a stack in several regions: whether it is, and whom a cluster beside home's follows from the beginning. */
  readonly regional?: { readonly upstream: StandbyUpstream | undefined } | undefined;
  /** A cluster whose etcd this one shares; default: one of its own. */
  readonly beside?: Cluster | undefined;
  /** Which group of a Citus cluster it is, and who may log in to its nodes; default: it is none. */
  readonly citus?: { readonly group: CitusGroup; readonly rules: NodeRules };
  /** Beside home: which of a Citus cluster's nodes it stands for there; default: it is none's. */
  readonly standsFor?: StandIn | undefined;
}

/** A cluster that stands for a Citus cluster's node in another region than home, where Citus is not Patroni's affair. */
export interface StandIn {
  readonly rules: NodeRules;
  /** Names by which that region's other nodes know it. */
  readonly names: readonly string[];
  /** Whether its one server has them on the network; else something before its servers has. */
  readonly bearsNames: boolean;
}

/** A cluster's type, and by itself the place of the first cluster's parts among a stack's resources. */
const FIRST_CLUSTER_TYPE = "cgraph:docker:Cluster";

/** What servers under Patroni share: etcd, which says who leads, and the cluster's configuration in it. */
export class Cluster extends pulumi.ComponentResource {
  readonly scope: string;
  readonly routerNames: readonly string[];
  readonly standsFor: StandIn | undefined;
  /** Empty where it shares another's. */
  readonly etcdContainerNames: readonly pulumi.Output<string>[];
  readonly #args: ClusterArgs;
  readonly #config: Record<string, unknown>;

  constructor(name: string, args: ClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super(FIRST_CLUSTER_TYPE, name, {}, opts);
    this.#args = args;
    this.scope = args.scope;
    this.routerNames = args.routerNames;
    this.standsFor = args.standsFor;
    this.#config = clusterConfig({
      ...args,
      upstream: args.regional?.upstream,
      rules: args.citus?.rules ?? args.standsFor?.rules,
      standsForNode: args.standsFor !== undefined,
    });
    const members = etcdNames(args.etcdMembers);
    const token = dockerName(args.site.stack);
    // Who led last, and how far the WAL was, keeps a stale replica from taking over: it lives as long as the data.
    // Of a stack that has moved to a Citus cluster it was the first cluster's, and goes over to the coordinator's as it is.
    const formerly = args.citus && FIRST_CLUSTER_TYPE;
    const etcd = (member: string) =>
      etcdContainer({ site: args.site, service: member, member, members, token, memoryMiB: 512, formerly }, this);
    const containers = args.beside ? [] : members.map(etcd);
    this.etcdContainerNames = containers.map((container) => container.name);
    oneShot(
      `${name}-config`,
      {
        site: args.site,
        image: args.site.servicesImage,
        command: ["cluster-config"],
        envs: [
          `CGRAPH_TLS_NAMES=cluster-config`,
          `CGRAPH_TLS_OWNER=root`,
          `CGRAPH_ETCD_MEMBERS=${members.join(" ")}`,
          `CGRAPH_CONFIG_KEY=${configKey(args.scope, args.citus?.group.group)}`,
        ],
        files: { "cluster.json": JSON.stringify(this.#config) },
        volumes: [{ volumeName: args.site.tlsVolumeName, containerPath: "/var/lib/cgraph-tls" }],
        network: true,
      },
      { parent: this, dependsOn: args.beside ? [args.beside] : containers },
    );
    this.registerOutputs({ scope: this.scope });
  }

  /** patroni.yml of one of the cluster's servers; secret. */
  patroniYaml(node: string): pulumi.Output<string> {
    const { credentials, etcdMembers, postgresVersion, firstNode, restores = false, citus } = this.#args;
    const { replicator, cgraph_rewind: rewind } = credentials.logins;
    return pulumi.all([replicator.password, rewind.password]).apply(([replicatorPassword, rewindPassword]) =>
      patroniYaml({
        scope: this.scope,
        node,
        etcdMembers: etcdNames(etcdMembers),
        postgresVersion,
        replication: { username: replicator.name, password: replicatorPassword },
        rewind: { username: rewind.name, password: rewindPassword },
        bootstrap: node === firstNode ? (restores ? "restore" : "initdb") : undefined,
        regional: this.#args.regional !== undefined,
        citus: citus?.group,
        cluster: this.#config,
      }),
    );
  }
}

/** Members of etcd by their names on the network. */
export const etcdNames = (members: number): string[] => Array.from({ length: members }, (_, index) => `etcd${index}`);
