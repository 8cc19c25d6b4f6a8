/** Whom the doctor asks: a database by its URL, or a stack's servers. */
import { DATABASE } from "../../components/roles.ts";
import { Remedies } from "../../migration/drift.ts";
import type { StackFacts } from "../../doctor/facts.ts";
import type { NodeOutput } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { parseSource } from "../import/source.ts";
import { currentPrimary } from "../lib/cluster.ts";
import type { ClusterView } from "../lib/clusters.ts";
import { certificateFile, connectionUrl } from "../lib/connection.ts";
import { type RoleLogin, loginOf } from "../lib/login.ts";
import { listBackups, readVerification } from "../lib/pgbackrest.ts";
import { run } from "../lib/run.ts";
import { DEFAULT_STACK } from "../lib/stackFiles.ts";
import { type Asker, APPLICATION, PSQL_OPTIONS, type Session, connectTo } from "./session.ts";

/** A replica, whose counts are added to the primary's. */
export interface Replica extends Asker {
  readonly name: string;
}

export interface Place {
  /** `host:port`. */
  readonly address: string;
  /** The primary's name in a stack of several servers; null: there is only one. */
  readonly server: string | null;
  /** Which cluster of a stack with shards it is; null: there is only one. */
  readonly cluster: string | null;
  /** As a role that has pg_monitor. */
  readonly monitor: Session;
  /** As a role that may read the tables; the same connection where there is only one role. */
  readonly reader: Session;
  readonly replicas: readonly Replica[];
  /** Undefined for a database that is no stack's. `server`: its name. */
  readonly stackFacts: ((server: string | null) => StackFacts) | undefined;
}

/** A database by its URL, and its replicas by theirs. */
export async function withUrls<T>(
  url: string,
  replicaUrls: readonly string[],
  work: (place: Place) => Promise<T>,
): Promise<T> {
  const source = parseSource(url, process.env, "--url");
  const replicaSources = replicaUrls.map((one) => parseSource(one, process.env, "--replica-url"));
  const sessions: Session[] = [];
  const connect = async (one: typeof source): Promise<Session> => {
    const session = await connectTo(one);
    sessions.push(session);
    return session;
  };
  try {
    const monitor = await connect(source);
    const replicas: Replica[] = [];
    for (const one of replicaSources) {
      const session = await connect(one);
      replicas.push({ name: `${one.host}:${one.port}`, ask: (select) => session.ask(select) });
    }
    const address = `${source.host}:${source.port}`;
    return await work({
      address,
      server: null,
      cluster: null,
      monitor,
      reader: monitor,
      replicas,
      stackFacts: undefined,
    });
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
}

/** The roles by which a stack's servers are asked. */
export const ROLES = { monitor: "cgraph_monitor", reader: "cgraph_readonly" } as const;

export const commandOf = (stack: string): ((words: string) => string) => {
  const remedies = new Remedies(stack === DEFAULT_STACK ? "" : stack);
  return (words) => remedies.cgraph(words);
};

/** Where a server has its certificates. */
const TLS = "/run/cgraph-tls";

/** A server in a container, which is reached by nobody but its neighbours: its own psql asks it. */
export function inContainer({ name, container }: NodeOutput, { user, password }: RoleLogin): Replica {
  // The certificate lets the role in where nodes of a Citus cluster come from; elsewhere the password does.
  const tls = `sslrootcert=${TLS}/ca.crt&sslcert=${TLS}/server.crt&sslkey=${TLS}/server.key`;
  const url = `postgresql://${user}@localhost/${DATABASE}?sslmode=verify-full&${tls}`;
  const env = { PGPASSWORD: password, PGOPTIONS: PSQL_OPTIONS, PGAPPNAME: APPLICATION, PGCONNECT_TIMEOUT: "5" };
  return {
    name,
    async ask(select) {
      const { code, stdout, stderr } = await run(
        "docker",
        [
          // Values come from this process's environment, so that the password stands in no command line.
          ...["exec", "--interactive", ...Object.keys(env).flatMap((key) => ["--env", key])],
          ...[container, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url, "-f", "-"],
        ],
        { env: { ...process.env, ...env }, input: select, timeoutMs: 10_000 },
      );
      if (code !== 0) throw new Error(stderr.trim().split("\n").at(-1) || `psql ended with ${code}`);
      return JSON.parse(stdout) as unknown;
    },
  };
}

/** How the last trials of a stack's backups went. */
async function backupTrials(container: string): Promise<StackFacts["verification"]> {
  try {
    const [[first], last] = await Promise.all([listBackups(container), readVerification(container)]);
    if (!first) return undefined;
    return {
      since: new Date(first.endedAt),
      lastVerifiedAt: last?.lastGoodAt ? new Date(last.lastGoodAt) : undefined,
      damaged: last && !last.ok ? { backup: last.backup, at: new Date(last.at), problems: last.problems } : undefined,
    };
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

/** A stack in Docker, or one of its clusters: its primary at the direct endpoint, its replicas from inside of their containers. */
export async function withDockerStack<T>(
  stack: string,
  { name: cluster, values }: ClusterView,
  work: (place: Place) => Promise<T>,
): Promise<T> {
  const certificate = await certificateFile(stack, values);
  const primary = await currentPrimary(values);
  const { write } = values.endpoints;
  const sessions: Session[] = [];
  const connect = async (role: "monitor" | "reader"): Promise<Session> => {
    const session = await connectTo(
      parseSource(connectionUrl(values, ROLES[role], write, { certificate }), {}, "--url"),
    );
    sessions.push(session);
    return session;
  };
  const verification = await backupTrials(values.backupContainer);
  const command = commandOf(stack);
  const names = values.nodes.map(({ name }) => name);
  const stackFacts = (server: string | null): StackFacts => ({
    name: stack,
    target: "docker",
    command,
    followers: names.filter((name) => name !== primary.name),
    settings: values.nodes.find(({ name }) => name === server)?.settings ?? primary.settings,
    otherwiseSet: [],
    pool: values.pool,
    verification,
  });
  try {
    const monitor = await connect("monitor").catch((error: unknown) => {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(
        error.message,
        `see ${command("status")} and ${command(`logs ${primary.name}`)}`,
        EXIT.failed,
      );
    });
    const reader = await connect("reader");
    const replicas = values.nodes
      .filter(({ name }) => name !== primary.name)
      .map((node) => inContainer(node, loginOf(values, ROLES.monitor)));
    const address = `${write.host}:${write.port}`;
    return await work({
      ...{ address, server: primary.name, cluster: cluster === "" ? null : cluster },
      ...{ monitor, reader, replicas, stackFacts },
    });
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
}
