/** Clients on a primary for commands that look at a database: a stack's, in Docker or on AWS, or any other by its URL. */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import type { Client, ClientConfig } from "pg";
import type { RoleName } from "../../components/roles.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Source, parseSource } from "../import/source.ts";
import { certificateFile, connectionUrl } from "./connection.ts";
import { loginOf } from "./login.ts";
import type { AnyStackValues } from "./stack.ts";
import { DEFAULT_STACK } from "./stackFiles.ts";

/** Which database, and as whom. */
export interface DatabasePlace {
  /** Default: dev. */
  readonly stack?: string;
  /** Any PostgreSQL instead of a stack's: its user is the URL's. */
  readonly url?: string;
  /** One of a stack's roles. */
  readonly role: RoleName;
}

const CONNECT_MS = 10_000;

const known = new Map<string, Promise<AnyStackValues>>();

/** A stack's outputs, read once by each command: that takes a process of Pulumi's. */
export function knownStackValues(name: string): Promise<AnyStackValues> {
  const values =
    known.get(name) ?? import("./stack.ts").then(async (stack) => stack.anyStackValues(await stack.openStack(name)));
  known.set(name, values);
  return values;
}

/** What libpq's sslmode means to Node's TLS; false: no TLS. Without a mode it is libpq's `prefer`. */
export function tlsOf({ parameters, files }: Pick<Source, "parameters" | "files">): ConnectionOptions | false {
  const mode = parameters["sslmode"] ?? "prefer";
  if (mode === "disable") return false;
  const file = (parameter: string): Buffer | undefined =>
    files[parameter] === undefined ? undefined : readFileSync(files[parameter]);
  const [ca, cert, key] = [file("sslrootcert"), file("sslcert"), file("sslkey")];
  const given = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  if (mode === "verify-full") return given;
  // With an authority the certificate is looked at whatever the mode, though not the name in it.
  if (mode === "verify-ca" || ca) return { ...given, checkServerIdentity: () => undefined };
  return { ...given, rejectUnauthorized: false };
}

const MAY_DO_WITHOUT_TLS = new Set([undefined, "prefer", "allow"]);

/** A connected client; whoever calls ends it. */
export async function connectTo(config: ClientConfig): Promise<Client> {
  const { default: pg } = await import("pg");
  const client = new pg.Client({ connectionTimeoutMillis: CONNECT_MS, ...config });
  // A broken connection is reported by the query that was under way.
  client.on("error", () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

/** A client on the database that a URL names; whoever calls ends it. A host that begins with / is a socket's folder. */
export async function connectToUrl(source: Source, applicationName: string): Promise<Client> {
  const { host, port, user, database, password, parameters } = source;
  const timeoutSeconds = Number(parameters["connect_timeout"] ?? 0);
  const config: ClientConfig = {
    ...{ host, port, user, database, application_name: applicationName },
    ssl: host.startsWith("/") ? false : tlsOf(source),
    ...(password === undefined ? {} : { password }),
    ...(timeoutSeconds > 0 && { connectionTimeoutMillis: timeoutSeconds * 1000 }),
  };
  try {
    return await connectTo(config);
  } catch (error) {
    const plain = error instanceof Error && /does not support SSL/.test(error.message);
    if (!plain || !MAY_DO_WITHOUT_TLS.has(parameters["sslmode"])) throw error;
    return connectTo({ ...config, ssl: false });
  }
}

interface Failure {
  readonly code?: string;
  readonly message: string;
}

/** Why a database cannot be reached, in words that a person can act on; other errors as they are. */
export function explainConnection(error: unknown, where: string, remedy: string): unknown {
  const { code = "", message } = error as Failure;
  const failed = (problem: string, then = remedy): UserError => new UserError(problem, then, EXIT.failed);
  if (error instanceof UserError) return error;
  if (code === "28P01" || code === "28000" || /password must be a string|no password/.test(message)) {
    return failed(`${where} refuses the login: ${message}`);
  }
  if (code === "3D000") return failed(`${where}: ${message}`);
  if (code === "53300") return failed(`${where} has no connection left: ${message}`);
  if (["57P03", "57P01", "57P02"].includes(code)) return failed(`${where} does not serve now: ${message}`);
  if (
    /^(ECONN|ENOTFOUND|EAI_AGAIN|EHOST|ENET|ETIMEDOUT|EPIPE)/.test(code) ||
    /timeout expired|terminated/.test(message)
  ) {
    return failed(`${where} does not answer: ${message || code}`);
  }
  if (/^(CERT_|DEPTH_|UNABLE_TO|SELF_SIGNED|ERR_TLS)/.test(code) || /certificate|does not support SSL/.test(message)) {
    return failed(`${where}: ${message}`, "set sslmode and sslrootcert in the URL to what the server has");
  }
  return error;
}

async function worked<T>(client: Client, work: (client: Client) => Promise<T>): Promise<T> {
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Works with a client on the primary and closes it. `applicationName` is what pg_stat_activity shows. Throws a UserError
 * (failed) where the database cannot be reached; what `work` throws goes on as it is.
 */
export async function withDatabase<T>(
  { stack = DEFAULT_STACK, url, role }: DatabasePlace,
  applicationName: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  if (url !== undefined) {
    const source = parseSource(url, process.env, "--url");
    const where = `the database at ${source.host}:${source.port}`;
    const remedy = "check --url, the password and whether the server runs and listens there";
    const client = await connectToUrl(source, applicationName).catch((error: unknown) => {
      throw explainConnection(error, where, remedy);
    });
    return worked(client, work);
  }
  const values = await knownStackValues(stack);
  const remedy = `see ./cgraph-db status --stack ${stack}`;
  const explain = (error: unknown): unknown => explainConnection(error, `the database of stack ${stack}`, remedy);
  if (values.target === "aws") {
    const { withPrimary } = await import("../aws/client.ts");
    return withPrimary(values, loginOf(values, role), applicationName, work).catch((error: unknown) => {
      throw explain(error);
    });
  }
  const certificate = await certificateFile(stack, values);
  const connectionString = connectionUrl(values, role, values.endpoints.write, { certificate });
  const client = await connectTo({ connectionString, application_name: applicationName }).catch((error: unknown) => {
    throw explain(error);
  });
  return worked(client, work);
}

/** How long a query that only looks may take, and wait for a lock that a schema change holds. */
export interface LookBounds {
  readonly statementSeconds: number;
  readonly lockSeconds: number;
}
const LOOK: LookBounds = { statementSeconds: 15, lockSeconds: 2 };

/**
 * Looks at a database within one read-only transaction, with bounds on how long each query may take: settings of the
 * transaction alone, so that they hold behind a pool as well. Throws a UserError where a bound is met or a right is missing.
 */
export async function looking<T>(client: Client, work: (client: Client) => Promise<T>, bounds = LOOK): Promise<T> {
  try {
    await client.query(`BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = '${bounds.statementSeconds}s';
      SET LOCAL lock_timeout = '${bounds.lockSeconds}s'; SET LOCAL search_path = pg_catalog`);
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw explainLook(error, bounds);
  }
}

/** Why a query that only looks has failed. */
function explainLook(error: unknown, { statementSeconds, lockSeconds }: LookBounds): unknown {
  const { code, message } = error as Failure;
  if (code === "57014") {
    return new UserError(
      `the database took longer than ${statementSeconds} s to answer, and was not asked further: ${message}`,
      "it is very busy or very large; try again later",
      EXIT.failed,
    );
  }
  if (code === "55P03") {
    return new UserError(
      `a table is locked against being looked at, and was waited for ${lockSeconds} s`,
      "./cgraph-db inspect locks says by whom",
      EXIT.failed,
    );
  }
  if (code === "42501") {
    return new UserError(
      `the user may not see it: ${message}`,
      "GRANT pg_monitor TO it, or name another user in --url",
      EXIT.failed,
    );
  }
  return error;
}

/** The one value that a query gives. */
export async function valueOf<T>(client: Client, sql: string, values: readonly unknown[] = []): Promise<T> {
  const { rows } = await client.query<{ value: T }>(sql, [...values]);
  const [row] = rows;
  if (!row) throw new Error(`no row: ${sql}`);
  return row.value;
}
