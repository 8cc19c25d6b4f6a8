/** A sharded stack's clusters as their schema is applied, wherever they run: how each is reached, by us and by the others. */
import type { Client } from "pg";
import { DATABASE, type RoleName } from "../../components/roles.ts";
import type { ForeignServer } from "../../sharding/routerSql.ts";
import type { MessagesConfig } from "../../stacks/config.ts";
import type { Endpoint } from "../../stacks/outputs.ts";
import type { RoleLogin } from "../lib/login.ts";

export interface Administering {
  /** Default: the application's. */
  readonly database?: string;
  /** Whether the statements hold passwords: then neither logs nor statistics may show them. */
  readonly secret?: boolean;
}

export interface ClusterPlace {
  /** `shard0`, `global`, `shard1`, … */
  readonly name: string;
  /** Works with a client of the tables' owner on the primary; `database`: by default the application's. */
  readonly owner: <T>(work: (client: Client) => Promise<T>, database?: string) => Promise<T>;
  /** Runs statements one after the other as the administrator, who may do more than the owner. */
  readonly administer: (statements: readonly string[], options?: Administering) => Promise<void>;
  /** Where servers of other clusters reach the primary. */
  readonly endpoint: Endpoint;
  /** The file on this cluster's own servers by which they trust the others. Throws a UserError where there is none. */
  readonly authorities: () => Promise<string>;
}

export interface ShardCluster extends ClusterPlace {
  readonly number: number;
}

export interface ShardedPlaces {
  readonly global: ClusterPlace;
  /** In the order of their numbers. */
  readonly shards: readonly ShardCluster[];
  readonly buckets: number;
  readonly messages: MessagesConfig;
  readonly loginOf: (role: RoleName) => RoleLogin;
  /** Who makes the global database's slots: Patroni, which keeps them through a failover, or we. */
  readonly slotsBy: "patroni" | "us";
  /** Whom the router database's foreign servers belong to. */
  readonly serverOwner: string;
}

/** A cluster's primary by libpq's keywords, without a login. `authorities`: a file on the server that connects. */
export const serverAt = ({ host, port }: Endpoint, authorities: string): ForeignServer => ({
  host,
  port: String(port),
  dbname: DATABASE,
  sslmode: "verify-full",
  sslrootcert: authorities,
});

/** A value in a conninfo, quoted where libpq needs that. */
const conninfoValue = (value: string): string =>
  /^[^\s'\\]+$/.test(value) ? value : `'${value.replace(/['\\]/g, (character) => `\\${character}`)}'`;

/** libpq's keywords and values as one text; it holds a password. */
export const conninfoText = (server: ForeignServer, login: RoleLogin): string =>
  Object.entries({ ...server, ...login })
    .map(([key, value]) => `${key}=${conninfoValue(value)}`)
    .join(" ");
