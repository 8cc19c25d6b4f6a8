/**
 * The clusters of a sharded stack on AWS, each an RDS instance with its replicas, whose administrator is no superuser. Being a
 * member of rds_superuser lets it make extensions, slots, and subscriptions, for which RDS's user guide asks for nothing else;
 * for all that is the owner's it is a member of the owner (roles.ts).
 */
import type pg from "pg";
import { ADMINISTRATOR } from "../../components/aws/names.ts";
import { FIRST_CLUSTER, GLOBAL_CLUSTER, shardNumber } from "../../components/docker/shardRoutes.ts";
import { OWNER } from "../../components/roles.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { MessagesConfig } from "../../stacks/config.ts";
import type { Endpoint } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { loginOf } from "../lib/login.ts";
import type { ClusterPlace, ShardedPlaces } from "../shards/places.ts";
import { administratorOf, withClient } from "./client.ts";
import { type Way, withWay } from "./reach.ts";

const APPLICATION = "cgraph-db shards";

/**
 * Runs what `sharding.secret_statement` holds. The text that the server sees, and may log when it is slow, count in
 * pg_stat_statements or show in pg_stat_activity, is this one. An error is raised anew, since the context of the first would
 * have the statement in it; CloudWatch keeps logs for a month.
 */
const RUN_SECRET_SQL = `DO $$ BEGIN
  EXECUTE current_setting('sharding.secret_statement');
EXCEPTION WHEN OTHERS THEN
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM;
END $$`;

async function runSecret(client: pg.Client, statement: string): Promise<void> {
  await client.query("SELECT set_config('sharding.secret_statement', $1, false)", [statement]);
  await client.query(RUN_SECRET_SQL);
}

/**
 * The file by which a server's own clients trust RDS: the authorities of its own certificate, which RDS puts on every server
 * and names in ssl_ca_file (/rdsdbdata/rds-metadata/ca-cert.pem; RDS's user guide, "Using SSL with a PostgreSQL DB instance").
 * All of a stack's servers have certificates of one authority (components/aws/rdsInstance.ts), in one region.
 */
async function authoritiesOf(client: pg.Client, name: string): Promise<string> {
  const { rows } = await client.query<{ file: string }>("SELECT current_setting('ssl_ca_file') AS file");
  const file = rows[0]?.file ?? "";
  if (file !== "") return file;
  throw new UserError(
    `the servers of ${name} have no authorities of certificates (ssl_ca_file): they could not tell whom they reach`,
    "look at the instance's certificate authority (aws rds describe-db-instances)",
    EXIT.failed,
  );
}

function clusterPlace(values: AwsStackValues, name: string, endpoint: Endpoint, way: Way): ClusterPlace {
  const owner: ClusterPlace["owner"] = (work, database) =>
    withClient(way, loginOf(values, OWNER), APPLICATION, work, database);
  const administrator = administratorOf(values);
  return {
    name,
    owner,
    administer: (statements, { database, secret = false } = {}) =>
      withClient(
        way,
        administrator,
        APPLICATION,
        async (client) => {
          for (const statement of statements) {
            await (secret ? runSecret(client, statement) : client.query(statement));
          }
        },
        database,
      ),
    endpoint,
    authorities: () => owner((client) => authoritiesOf(client, name)),
  };
}

/**
 * Works with the clusters of a stack at stage 4, with one way to each that is kept open meanwhile. `reach`: how a way is
 * found.
 */
export function withShardPlaces<T>(
  values: AwsStackValues,
  messages: MessagesConfig,
  work: (places: ShardedPlaces) => Promise<T>,
  reach: typeof withWay = withWay,
): Promise<T> {
  const { sharding } = values;
  if (!sharding) throw new Error("the stack has no shards");
  const clusters = [{ name: FIRST_CLUSTER, write: values.endpoints.write }, ...sharding.others];
  const open = ([next, ...rest]: readonly (typeof clusters)[number][], opened: readonly ClusterPlace[]): Promise<T> => {
    if (next) {
      return reach(values, next.write, (way) =>
        open(rest, [...opened, clusterPlace(values, next.name, next.write, way)]),
      );
    }
    const global = opened.find(({ name }) => name === GLOBAL_CLUSTER);
    if (!global) throw new Error("the stack has no global database");
    return work({
      global,
      shards: opened
        .filter(({ name }) => name !== GLOBAL_CLUSTER)
        .map((place) => ({ ...place, number: shardNumber(place.name) })),
      buckets: sharding.buckets,
      messages,
      loginOf: (role) => loginOf(values, role),
      // A Multi-AZ standby has the primary's own storage, slots included.
      slotsBy: "us",
      // Another owner would need a right to the wrapper, which on RDS not even the administrator may be able to grant.
      serverOwner: ADMINISTRATOR,
    });
  };
  return open(clusters, []);
}
