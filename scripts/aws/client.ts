/** Connections to a database on AWS. */
import pg from "pg";
import { DATABASE } from "../../components/roles.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { rdsAuthoritiesText } from "./authorities.ts";
import { type Way, withWay } from "./reach.ts";

interface Login {
  readonly user: string;
  readonly password: string;
}

const CONNECT_MS = 15_000;

/** A client over a way, which verifies that the server is the one that was meant. */
export async function connectOver(way: Way, { user, password }: Login, applicationName: string): Promise<pg.Client> {
  const client = new pg.Client({
    host: way.address,
    port: way.port,
    database: DATABASE,
    user,
    password,
    ssl: { ca: await rdsAuthoritiesText(), servername: way.host },
    connectionTimeoutMillis: CONNECT_MS,
    application_name: applicationName,
  });
  await client.connect();
  return client;
}

/** Works with a client on the primary. */
export const withPrimary = <T>(
  values: AwsStackValues,
  login: Login,
  applicationName: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> =>
  withWay(values, values.endpoints.write, async (way) => {
    const client = await connectOver(way, login, applicationName);
    try {
      return await work(client);
    } finally {
      await client.end().catch(() => undefined);
    }
  });
