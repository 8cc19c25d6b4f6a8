/** The scheduled check, as a function on AWS Lambda in the database's own subnets: logs in with AWS's tokens, no password. */
import pg from "pg";
import { SAMPLE_SQL, type Sample, figuresOf, metricLine } from "./figures.ts";
import { iamToken } from "./iamToken.ts";

export interface CheckedServer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface CheckConfig {
  readonly stack: string;
  readonly namespace: string;
  readonly database: string;
  readonly role: string;
  readonly servers: readonly CheckedServer[];
}

type Connect = (server: CheckedServer) => Promise<pg.Client>;

const TIMEOUT_MS = 10_000;

async function sample(connect: Connect, server: CheckedServer): Promise<Sample> {
  const client = await connect(server);
  try {
    const { rows } = await client.query<Sample>(SAMPLE_SQL);
    const [row] = rows;
    if (!row) throw new Error("no answer");
    return row;
  } finally {
    await client.end();
  }
}

/**
 * Takes a sample of every server and writes their figures. `previous` keeps the samples for the next call, which one
 * process gets many of. Servers that do not answer are named in the error at the end, when the others have been written.
 */
export async function check(
  config: Omit<CheckConfig, "role" | "database">,
  connect: Connect,
  previous: Map<string, Sample>,
  write: (line: string) => void,
): Promise<void> {
  const { stack, namespace, servers } = config;
  const failures: string[] = [];
  const taken = async (server: CheckedServer): Promise<[CheckedServer, Sample] | undefined> => {
    try {
      return [server, await sample(connect, server)];
    } catch (error) {
      failures.push(`${server.name}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  // The primary's position comes first, so that nobody lags behind what had not been written yet.
  const [first, ...others] = servers;
  const samples = [...(first ? [await taken(first)] : []), ...(await Promise.all(others.map(taken)))].filter(
    (one) => one !== undefined,
  );
  const primaryPosition = samples.find(([, { isReplica }]) => !isReplica)?.[1].walPosition;
  for (const [server, now] of samples) {
    const figures = figuresOf(previous.get(server.name), now, primaryPosition);
    previous.set(server.name, now);
    write(metricLine(namespace, { Stack: stack, Server: server.name }, figures, Date.now()));
  }
  if (failures.length > 0) throw new Error(`no figures of ${failures.join("; ")}`);
}

const previous = new Map<string, Sample>();
const variable = (name: string): string => process.env[name] ?? "";

/** What Lambda calls every minute. */
export async function handler(): Promise<void> {
  const config = JSON.parse(variable("CGRAPH_CHECK")) as CheckConfig;
  const connect: Connect = async ({ host, port }) => {
    const client = new pg.Client({
      host,
      port,
      database: config.database,
      user: config.role,
      password: iamToken(host, port, config.role, {
        accessKeyId: variable("AWS_ACCESS_KEY_ID"),
        secretAccessKey: variable("AWS_SECRET_ACCESS_KEY"),
        sessionToken: variable("AWS_SESSION_TOKEN"),
        region: variable("AWS_REGION"),
      }),
      // Lambda has the authorities of RDS's certificates (NODE_EXTRA_CA_CERTS).
      ssl: { rejectUnauthorized: true },
      connectionTimeoutMillis: TIMEOUT_MS,
      query_timeout: TIMEOUT_MS,
      application_name: "cgraph-db check",
    });
    await client.connect();
    return client;
  };
  await check(config, connect, previous, (line) => process.stdout.write(`${line}\n`));
}
