/** Connections to a database on AWS. */
import { readFileSync } from "node:fs";
import pg from "pg";
import { ADMINISTRATOR } from "../../components/aws/names.ts";
import { DATABASE } from "../../components/roles.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { rdsAuthoritiesText } from "./authorities.ts";
import { type Way, withWay } from "./reach.ts";

interface Login {
  readonly user: string;
  readonly password: string;
}

/** How the administrator logs in. Throws a UserError where there is none that does: the superuser of stage 5 is each server's own. */
export function administratorOf({ stage, administratorPassword: password }: AwsStackValues): Login {
  if (password !== null) return { user: ADMINISTRATOR, password };
  throw new UserError(
    `at stage ${stage} nobody logs in as administrator over the network`,
    "work on the server itself: aws ssm start-session --target INSTANCE, then sudo -u postgres psql (docs/aws.md, Stage 5)",
    EXIT.refused,
  );
}

const CONNECT_MS = 15_000;

/** A client over a way, which verifies that the server is the one that was meant. */
export async function connectOver(
  way: Way,
  { user, password }: Login,
  applicationName: string,
  database = DATABASE,
): Promise<pg.Client> {
  const client = new pg.Client({
    host: way.address,
    port: way.port,
    database,
    user,
    password,
    ssl: {
      ca: way.authorities === undefined ? await rdsAuthoritiesText() : readFileSync(way.authorities, "utf8"),
      servername: way.host,
    },
    connectionTimeoutMillis: CONNECT_MS,
    application_name: applicationName,
  });
  // A connection that breaks is told by the statement that it breaks.
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/** Works with a client over a way; `database`: by default the application's. */
export async function withClient<T>(
  way: Way,
  login: Login,
  applicationName: string,
  work: (client: pg.Client) => Promise<T>,
  database?: string,
): Promise<T> {
  const client = await connectOver(way, login, applicationName, database);
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Works with a client on the primary. */
export const withPrimary = <T>(
  values: AwsStackValues,
  login: Login,
  applicationName: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> => withWay(values, values.endpoints.write, (way) => withClient(way, login, applicationName, work));
