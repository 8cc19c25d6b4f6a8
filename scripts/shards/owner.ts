/** Clients on the primaries of a sharded stack's clusters. */
import type { Client } from "pg";
import { OWNER, type RoleName } from "../../components/roles.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { currentPrimary } from "../lib/cluster.ts";
import { certificateFile, connectionUrl } from "../lib/connection.ts";
import { docker } from "../lib/docker.ts";

const APPLICATION = "cgraph-db shards";

/** Works with a client on a cluster's primary (`values`: a view of the cluster) as a role, by default the tables' owner. */
export async function asClusterOwner<T>(
  stack: string,
  values: StackValues,
  work: (client: Client) => Promise<T>,
  { role = OWNER, database }: { role?: RoleName; database?: string } = {},
): Promise<T> {
  const { default: pg } = await import("pg");
  const certificate = await certificateFile(stack, values);
  const connectionString = connectionUrl(values, role, values.endpoints.write, { certificate }, database);
  const client = new pg.Client({ connectionString, application_name: APPLICATION, connectionTimeoutMillis: 10_000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
  } catch (error) {
    const { host, port } = values.endpoints.write;
    const said = error instanceof Error ? error.message : String(error);
    throw new UserError(`${host}:${port} does not answer: ${said}`, "see ./cgraph-db status", EXIT.failed);
  }
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Runs a script as the superuser on a cluster's primary, given on standard input: it may hold passwords. */
export async function superuserScript(values: StackValues, database: string, sql: string): Promise<string> {
  const { container } = await currentPrimary(values);
  const psql = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"];
  return (await docker(["exec", "--interactive", "--user", "postgres", container, ...psql], { input: sql })).trim();
}
