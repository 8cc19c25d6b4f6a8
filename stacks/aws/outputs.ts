/** What a stack on AWS tells the commands that operate it. */
import type { RoleName } from "../../components/roles.ts";
import type { StageNumber } from "../guide.ts";
import type { Endpoint, Promised } from "../outputs.ts";
import type { CostLine } from "./cost.ts";

export interface AwsNodeOutput {
  readonly name: string;
  /** Of a sharded stack, beside the first: `global`, `shard1`, …; null (or absent from earlier outputs): the first. */
  readonly cluster?: string | null;
  /** What it was at first. */
  readonly role: string;
  readonly host: string;
  readonly port: number;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly instanceClass: string;
  readonly identifier: string;
  /** Absent from earlier outputs. */
  readonly arn?: string;
  readonly parameterGroup?: string;
  /** Values as in postgresql.conf. */
  readonly settings: Readonly<Record<string, string>>;
}

/** Where clients within the VPC reach what. */
export interface AwsEndpoints {
  readonly write: Endpoint;
  /** Every replica; empty: there is none. Clients take one at random (libpq: load_balance_hosts). */
  readonly read: readonly Endpoint[];
  readonly pool: (Endpoint & { readonly kind: "pgbouncer" | "rds-proxy" }) | null;
  readonly cache: Endpoint | null;
}

/** Shards: the first, shard 0, is the stack's own endpoints. */
export interface AwsShardingOutput {
  readonly shards: number;
  readonly buckets: number;
  readonly others: readonly (Pick<AwsEndpoints, "write" | "read"> & { readonly name: string })[];
}

/** Stage 5's. Each cluster's servers are among `nodes`; the first is the coordinator. */
export interface AwsCitusOutput {
  readonly workers: number;
  readonly shardCount: number;
  /** What follows servers' names where they are reached. */
  readonly domain: string;
  readonly etcd: readonly string[];
  readonly backupBucket: string;
  /** ARN of the secret with the certificate by which clients verify the servers. */
  readonly authoritySecret: string;
  /** Writes of all regions and home's reads, through home's pool. Absent from earlier outputs. */
  readonly pools?: { readonly write: AwsAppPools; readonly read: AwsAppPools };
  /** Those beside home; empty, or absent from earlier outputs: there is one. */
  readonly regions?: readonly AwsCitusRegionOutput[];
  /** Home's coordinator, as every region finds it; absent where there is one region. */
  readonly home?: {
    readonly write: Endpoint;
    readonly read: Endpoint;
    /** Of its balancer, with the group that it has, and one that lets nobody in: for when another region has taken over. */
    readonly balancerArn: string;
    readonly openGroup: string;
    readonly fenceGroup: string;
  };
  /** The region nearest to whoever asks that may be read; the same. */
  readonly nearest?: Endpoint;
}

/** What applications may hold there in connections: the guide's pools of each API node, and so many nodes with them. */
export interface AwsAppPools {
  readonly perApiNode: number;
  readonly mostApiNodes: number;
}

/** A region of a Citus cluster beside home. */
export interface AwsCitusRegionOutput {
  readonly name: string;
  /** A standby of every node. */
  readonly nodes: readonly AwsNodeOutput[];
  /** The coordinator there, which takes writes once the region is promoted; the same from every region. */
  readonly write: Endpoint;
  readonly read: Endpoint;
  /** Reads in the region, without a pool of ours. */
  readonly pools: { readonly read: AwsAppPools };
  readonly etcd: readonly string[];
  readonly backupBucket: string;
  /** As `authoritySecret` of home, a copy. */
  readonly authoritySecret: string;
  /** Servers of the application's there join it. */
  readonly clientSecurityGroup: string;
}

/** With what a database is made in a region. */
export interface AwsPlaceOutput {
  readonly subnetGroup: string;
  readonly securityGroup: string;
  /** A group that lets nobody in: for a primary that another region has replaced. */
  readonly fenceGroup: string;
  readonly keyArn: string;
}

/** A region beside home. */
export interface AwsRegionOutput {
  readonly name: string;
  readonly nodes: readonly AwsNodeOutput[];
  /** Replicas of the first cluster; the region's own clients take one at random. */
  readonly read: readonly Endpoint[];
  /** Of a sharded stack: those of each other cluster. */
  readonly shards: readonly { readonly name: string; readonly read: readonly Endpoint[] }[];
  /** Servers of the application's there join it. */
  readonly clientSecurityGroup: string;
  readonly place: AwsPlaceOutput;
}

/** What several regions have in common. */
export interface AwsAcrossOutput {
  /** The private zone in which the VPCs of all regions look names up. */
  readonly zone: string;
  readonly zoneId: string;
  /** The replica nearest to whoever asks, of the first cluster. */
  readonly nearest: Endpoint;
  /** With what the primaries are made. */
  readonly home: AwsPlaceOutput;
}

/** Plain values of a stack's outputs. */
export interface AwsStackValues {
  readonly stage: StageNumber;
  readonly target: "aws";
  readonly region: string;
  readonly postgresVersion: number;
  readonly nodes: readonly AwsNodeOutput[];
  /** Of the first cluster. */
  readonly endpoints: AwsEndpoints;
  /** Null below stage 4, or absent from outputs of earlier versions. */
  readonly sharding?: AwsShardingOutput | null;
  /** Null below stage 5, or absent. */
  readonly citus?: AwsCitusOutput | null;
  /** Those beside home (`region`), on RDS; empty, or absent from outputs of earlier versions: there is one. */
  readonly regions?: readonly AwsRegionOutput[];
  /** Null where there is one region. */
  readonly across?: AwsAcrossOutput | null;
  /** Where `up` puts the pool's image, with its tag; null where none of ours is needed. */
  readonly poolImage: string | null;
  /** The name of the server through which people reach the database; null where there is none. */
  readonly accessHost: string | null;
  /** Servers of the application's join it to reach the database. */
  readonly clientSecurityGroup: string;
  readonly notes: readonly string[];
  readonly cost: readonly CostLine[];
  readonly usdPerMonth: number;
  /** Generations of passwords that are accepted, the one in use first: they say by which names roles log in. */
  readonly passwordGenerations: readonly number[];
  /** Secret. Of the generation in use. */
  readonly passwords: Readonly<Record<RoleName, string>>;
  /** Secret. Of the one that is accepted beside, while passwords are rotated. */
  readonly otherPasswords: Readonly<Record<RoleName, string>> | null;
  /** Secret. Null at stage 5: there the superuser has no password, and is the server's own. */
  readonly administratorPassword: string | null;
  /** Secret. At stage 5: without it no backup can be restored. */
  readonly backupKey?: string;
  /** Secret. */
  readonly cachePassword: string | null;
}

export type AwsStackOutputs = { readonly [K in keyof AwsStackValues]: Promised<AwsStackValues[K]> };

/** The regions beside home. */
export const furtherRegions = ({ regions }: Pick<AwsStackValues, "regions">): readonly AwsRegionOutput[] =>
  regions ?? [];
