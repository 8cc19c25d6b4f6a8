/** Whether all of a stack lets in whom it should, and nobody else, before anybody is told to use it. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { generationInUse, loginName, loginVerifiers, namesOf } from "../../components/logins.ts";
import { DATABASE, READ_DATABASE, ROLE_NAMES } from "../../components/roles.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { currentPrimary, isCluster, superuserSql } from "../lib/cluster.ts";
import { certificateFile, connectionUrl } from "../lib/connection.ts";
import { connectTo } from "../lib/databaseClient.ts";
import { generationsOf, passwordsOf } from "../lib/login.ts";
import { consoleRows } from "../lib/pooler.ts";
import { step } from "../lib/progress.ts";
import { run } from "../lib/run.ts";
import { olderNames } from "./plan.ts";
import { listOf } from "./sessions.ts";

/** How long a part may take to follow: Patroni looks at its configuration every two seconds, a replica may lag. */
const PATIENCE_MS = 60_000;

/** Throws what there is to wait for. */
type Check = () => Promise<void>;

async function untilAll(checks: readonly Check[]): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const results = await Promise.allSettled(checks.map((check) => check()));
    const failed = results.find((result) => result.status === "rejected");
    if (!failed) return;
    if (Date.now() > until) {
      const reason = failed.reason instanceof Error ? failed.reason.message : String(failed.reason);
      throw new UserError(
        `not everything has the stack's passwords after ${PATIENCE_MS / 1000} seconds: ${reason}`,
        "see ./cgraph-db status, then call this again: it goes on where it was, and locks nobody out meanwhile",
        EXIT.failed,
      );
    }
    await sleep(200);
  }
}

const ROLES_SQL = `SELECT json_object_agg(rolname, rolpassword) FROM pg_authid
  WHERE rolname IN (${listOf(ROLE_NAMES.flatMap(namesOf))})`;

/** Each server has each name's verifier, or none where it is refused. */
const servers = (values: StackValues): Check[] => {
  const wanted = Object.entries(loginVerifiers(generationsOf(values), passwordsOf(values)));
  return values.nodes.map(({ name: server, container }) => async () => {
    const there = JSON.parse(await superuserSql(container, ROLES_SQL)) as Record<string, string | null>;
    const other = wanted.find(([name, verifier]) => there[name] !== verifier);
    if (other) throw new Error(`${server} has another password of ${other[0]}`);
  });
};

/** The application logs in by every accepted name, wherever it may. */
async function clients(stack: string, values: StackValues): Promise<Check[]> {
  const certificate = await certificateFile(stack, values);
  const { write, read, pool } = values.endpoints;
  const places = [
    { endpoint: write, database: DATABASE },
    ...(read ? [{ endpoint: read, database: DATABASE }] : []),
    ...(pool ? [DATABASE, READ_DATABASE].map((database) => ({ endpoint: pool, database })) : []),
  ];
  return generationsOf(values).flatMap((generation, index) => {
    const passwords = passwordsOf(values)[index] ?? values.passwords;
    const as = { ...values, passwordGenerations: [generation], passwords };
    return places.map(({ endpoint, database }) => async () => {
      const connectionString = connectionUrl(as, "cgraph", endpoint, { certificate }, database);
      const client = await connectTo({ connectionString, application_name: "cgraph-db secrets" });
      await client.query("SELECT 1").finally(() => client.end());
    });
  });
}

/** Poolers ask for verifiers by the name in use. */
const poolers = (values: StackValues): Check[] => {
  const user = loginName("cgraph_pooler", generationInUse(generationsOf(values)));
  return values.services
    .filter(({ kind }) => kind === "pgbouncer")
    .map(({ name, container }) => async () => {
      const rows = await consoleRows(container, "SHOW CONFIG");
      const asked = rows.find(({ key }) => key === "auth_user")?.["value"];
      if (asked !== user) throw new Error(`${name} looks verifiers up as ${asked ?? "nobody"}`);
    });
};

/** Nobody of the stack's own follows the primary by a name of the generation before. */
const followers = (values: StackValues): Check[] => {
  if (!isCluster(values)) return [];
  const older = listOf(olderNames(generationsOf(values), ["replicator", "cgraph_changes"]));
  const sql = `SELECT string_agg(application_name || ' as ' || usename, ', ') FROM pg_stat_replication WHERE usename IN (${older})`;
  return [
    async () => {
      const found = await superuserSql((await currentPrimary(values)).container, sql);
      if (found !== "") throw new Error(`still following: ${found}`);
    },
  ];
};

/** The cache knows the password in use, and as many as there are generations. */
const cache = (values: StackValues): Check[] => {
  const { cachePassword } = values;
  if (cachePassword === null) return [];
  const hash = createHash("sha256").update(cachePassword).digest("hex");
  return values.services
    .filter(({ kind }) => kind === "redis")
    .map(({ container }) => async () => {
      const command = ["exec", "--env", "REDISCLI_AUTH", container, "redis-cli", "-s", "/tmp/redis.sock", "--json"];
      const { stdout, stderr } = await run("docker", [...command, "ACL", "GETUSER", "default"], {
        env: { ...process.env, REDISCLI_AUTH: cachePassword },
      });
      const { passwords = [] } = JSON.parse(stdout || "{}") as { passwords?: readonly string[] };
      if (passwords.includes(hash) && passwords.length === generationsOf(values).length) return;
      throw new Error(`the cache has other passwords ${stderr.trim()}`.trim());
    });
};

/**
 * Waits until every server, pooler and the cache have what the stack's outputs say, by looking and by logging in, and
 * until all of the stack itself uses the generation in use. Throws a UserError (failed) where that does not come.
 */
export const awaitAccepted = (stack: string, values: StackValues, title: string): Promise<void> =>
  step(title, async () => {
    await untilAll([
      ...servers(values),
      ...(await clients(stack, values)),
      ...poolers(values),
      ...followers(values),
      ...cache(values),
    ]);
    return { value: undefined, done: "everywhere" };
  });
