/** Drift: what a stack's state says, and what runs. Everything is asked at once; nothing is changed. */
import { isDeepStrictEqual } from "node:util";
import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { COORDINATOR } from "../../components/docker/citusNames.ts";
import { HBA_RULES, IMAGE_SETTINGS } from "../../components/docker/postgresFiles.ts";
import { type Generations, loginVerifiers, namesOf, serverRoles } from "../../components/logins.ts";
import { DATABASE, EXTENSIONS, ROLE_NAMES } from "../../components/roles.ts";
import { resourceName } from "../../migration/change.ts";
import { type Finding, Remedies, clusterDrift } from "../../migration/drift.ts";
import { type FoundDocker, type WantedDocker, dockerDrift } from "../../migration/driftDocker.ts";
import { type ServerFacts, serverDrift } from "../../migration/driftPostgres.ts";
import { type RoleFacts, rolesDrift } from "../../migration/driftRoles.ts";
import type { NodeOutput } from "../../stacks/outputs.ts";
import { PATRONI_CURL } from "./cluster.ts";
import { generationsOf, passwordsOf } from "./login.ts";
import type { AnyStackValues } from "./stack.ts";
import { foundDocker, wantedDocker } from "./driftDocker.ts";
import { table } from "./print.ts";
import { DOCKER_TYPES } from "./reconcile.ts";
import { run } from "./run.ts";
import { type Deployment, ofType, readState } from "./state.ts";
import { DEFAULT_STACK } from "./stackFiles.ts";

/** How long a server may take to answer; one that takes longer does not serve, however busy its machine is. */
const PATIENCE_MS = 10_000;

/** Settings beside the stack's that our postgresql.conf holds. */
const OWN_FILE = new Set(["cluster_name", "listen_addresses", "port", "hba_file"]);
/** The same of the one that Patroni writes. */
const PATRONI_FILE = new Set([
  ...OWN_FILE,
  ...["ident_file", "hot_standby", "wal_log_hints", "track_commit_timestamp", "synchronous_standby_names"],
  ...["max_locks_per_transaction", "max_prepared_transactions", "primary_conninfo", "primary_slot_name"],
  ...["restore_command", "recovery_min_apply_delay", "archive_cleanup_command", "recovery_end_command"],
  ...["recovery_target", "recovery_target_action", "recovery_target_inclusive", "recovery_target_lsn"],
  ...["recovery_target_name", "recovery_target_time", "recovery_target_timeline", "recovery_target_xid"],
  // Of a Citus node.
  "citus.local_hostname",
]);

const list = (select: string): string => `(SELECT coalesce(json_agg(row_to_json(t)), '[]') FROM (${select}) t)`;

const roleNames = ROLE_NAMES.flatMap(namesOf)
  .map((name) => `'${name}'`)
  .join(", ");

/** One line of JSON: of the server, and of what all servers of a cluster share. */
const SERVER_SQL = `SELECT json_build_object(
  'replica', pg_is_in_recovery(),
  'settings', ${list(
    `SELECT name, setting, unit, vartype AS type, source, pending_restart AS pending FROM pg_settings`,
  )},
  'files', ${list(
    `SELECT name, setting, sourcefile AS file, sourceline AS line, error FROM pg_file_settings ORDER BY seqno`,
  )},
  'hba', ${list(
    `SELECT concat_ws(' ', type, array_to_string(database, ','), array_to_string(user_name, ','), address, netmask,
       auth_method, array_to_string(options, ' ')) AS rule, error FROM pg_hba_file_rules ORDER BY line_number`,
  )},
  'roles', ${list(
    `SELECT rolname AS name, rolsuper AS super, rolcreatedb AS createdb, rolcreaterole AS createrole,
       rolcanlogin AS login, rolreplication AS replication, rolbypassrls AS bypassrls, rolinherit AS inherit,
       rolconnlimit AS limit, rolvaliduntil::text AS "validUntil", rolpassword AS verifier,
       (SELECT coalesce(json_agg(roleid::regrole::text), '[]') FROM pg_auth_members m WHERE m.member = a.oid) AS "memberOf"
     FROM pg_authid a WHERE rolname IN (${roleNames})`,
  )},
  'defaults', ${list(
    `SELECT coalesce(rolname, '') AS role, coalesce(datname, '') AS database, setconfig AS settings
     FROM pg_db_role_setting LEFT JOIN pg_authid a ON a.oid = setrole LEFT JOIN pg_database d ON d.oid = setdatabase`,
  )})`.replaceAll(/\s*\n\s*/g, " ");
const DATABASE_SQL = "SELECT json_agg(extname) FROM pg_extension";

/** One server, asked by one process in its container: Patroni first, then PostgreSQL. */
const QUESTIONS = [
  `curl --silent --max-time 2 ${PATRONI_CURL.join(" ")} https://localhost:8008/config; echo`,
  // The database may be missing: the second question then goes without an answer.
  'exec psql -XAtq -d postgres -c "$1" -c "\\connect $2" -c "$3"',
];

type Answer = ServerFacts & Omit<RoleFacts, "extensions">;

interface AskedServer {
  readonly node: NodeOutput;
  /** Undefined where PostgreSQL does not answer. */
  readonly facts: (Answer & RoleFacts) | undefined;
  /** What it says instead. */
  readonly refusal: string;
  readonly cluster: Readonly<Record<string, unknown>> | undefined;
}

async function askServer(node: NodeOutput, clustered: boolean): Promise<AskedServer> {
  const script = (clustered ? QUESTIONS : ["echo", ...QUESTIONS.slice(1)]).join("\n");
  const args = ["exec", "--user", "postgres", node.container, "sh", "-c", script, "sh"];
  const { stdout, stderr } = await run("docker", [...args, SERVER_SQL, DATABASE, DATABASE_SQL], {
    timeoutMs: PATIENCE_MS,
  });
  const [config = "", server = "", extensions = ""] = stdout.split("\n");
  const parsed = (text: string): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  };
  const answer = parsed(server) as Answer | undefined;
  const cluster = parsed(config);
  return {
    node,
    facts: answer && { ...answer, extensions: parsed(extensions) as readonly string[] | undefined },
    refusal: /failed: (.*)/.exec(stderr)?.[1] ?? `no answer in ${PATIENCE_MS / 1000} seconds`,
    cluster: typeof cluster === "object" ? (cluster as Record<string, unknown>) : undefined,
  };
}

/** What there is to compare. */
export interface Gathered {
  readonly stack: string;
  readonly wanted: WantedDocker;
  readonly found: FoundDocker;
  readonly servers: readonly AskedServer[];
  /** The cluster's configuration as it was put into etcd; undefined for a server on its own. */
  readonly clusterConfig: Readonly<Record<string, unknown>> | undefined;
  /** Whether the stack has several regions. */
  readonly regional: boolean;
  /** Generations of passwords that are accepted. */
  readonly passwordGenerations: Generations;
}

/** The one-shot container that writes the configuration of the cluster looked at: the only one, or a Citus cluster's coordinator. */
const CLUSTER_WRITERS: readonly string[] = ["cluster-config", `${COORDINATOR}-cluster-config`];

/** Reads the cluster's configuration from the one-shot container that writes it: nothing in it is secret. */
function clusterConfigOf(state: Deployment): Record<string, unknown> | undefined {
  const writer = ofType(state, DOCKER_TYPES.container).find(({ urn }) => CLUSTER_WRITERS.includes(resourceName(urn)));
  const uploads = writer?.inputs?.["uploads"];
  const content: unknown = Array.isArray(uploads) ? (uploads[0] as { content?: unknown }).content : undefined;
  return typeof content === "string" ? (JSON.parse(content) as Record<string, unknown>) : undefined;
}

/** Asks Docker and every server of the state, all at once. */
export async function gatherDrift(stack: Stack): Promise<Gathered> {
  const state = await readState(stack);
  const wanted = wantedDocker(stack.name, state);
  const clusterConfig = clusterConfigOf(state);
  const outputs = state.resources?.find(({ type }) => type === "pulumi:pulumi:Stack")?.outputs;
  // After `down` the outputs still name servers that are not there, nor should be.
  const nodes = ((outputs?.["nodes"] ?? []) as readonly NodeOutput[]).filter(({ container }) =>
    wanted.containers.some(({ name }) => name === container),
  );
  const [found, servers] = await Promise.all([
    foundDocker(wanted),
    Promise.all(nodes.map((node) => askServer(node, clusterConfig !== undefined))),
  ]);
  const passwordGenerations = (outputs?.["passwordGenerations"] ?? [1]) as Generations;
  const regional = Boolean(outputs?.["regions"]);
  return { stack: stack.name, wanted, found, servers, clusterConfig, regional, passwordGenerations };
}

/** Server by server what differs. `planned`: the program's values, with its passwords, where they are known. */
export function findDrift(gathered: Gathered, planned?: AnyStackValues): Finding[] {
  const { wanted, found, servers, clusterConfig } = gathered;
  const remedies = new Remedies(gathered.stack === DEFAULT_STACK ? "" : gathered.stack);
  // The primary first: what mends a cluster's servers goes in this order.
  const answering = servers
    .filter(({ facts }) => facts)
    .sort((a, b) => Number(a.facts?.replica) - Number(b.facts?.replica));
  const running = new Set(found.containers.filter(({ status }) => status === "running").map(({ id }) => id));
  const containerOf = (resource: string) => wanted.containers.find((one) => one.resource === resource);
  const runs = (resource: string): boolean => running.has(containerOf(resource)?.id ?? "");
  const config = servers.find(({ cluster }) => cluster)?.cluster;
  const writer = CLUSTER_WRITERS.map(containerOf).find((one) => one !== undefined);
  const writerIsThere = found.containers.some(({ id }) => id === writer?.id);
  const put = writerIsThere ? `docker start ${writer?.name}` : remedies.cgraph("up");
  // Where no server runs at all, that is what is told.
  const cluster =
    clusterConfig && answering.length > 0
      ? clusterDrift(clusterConfig, config, put, remedies, gathered.regional)
      : undefined;
  const hba = (clusterConfig?.["postgresql"] as { pg_hba?: readonly string[] } | undefined)?.pg_hba ?? HBA_RULES;
  const silent = servers
    .filter(({ node, facts }) => !facts && runs(node.name))
    .map(({ node, refusal }): Finding => ({
      kind: "server",
      where: node.name,
      what: "PostgreSQL",
      expected: "answers",
      found: refusal,
      remedy: remedies.cgraph(`logs ${node.name}`),
    }));
  const ofServers = answering.flatMap(({ node, facts }) =>
    facts
      ? serverDrift(
          {
            name: node.name,
            container: node.container,
            settings: { ...IMAGE_SETTINGS, ...node.settings },
            hba,
            alsoInFiles: clusterConfig ? PATRONI_FILE : OWN_FILE,
            writer: clusterConfig ? undefined : containerOf(`${node.name}-config-writer`)?.name,
          },
          facts,
          cluster,
          remedies,
        )
      : [],
  );
  return [
    ...dockerDrift(wanted, found, remedies),
    ...silent,
    ...(cluster?.findings ?? []),
    ...ofServers,
    ...driftOfRoles(answering, gathered.passwordGenerations, planned, remedies),
  ];
}

/** Roles are the same on all servers: the one that takes writes is asked, or any where none does. */
function driftOfRoles(
  answering: readonly AskedServer[],
  generations: Generations,
  planned: AnyStackValues | undefined,
  remedies: Remedies,
): Finding[] {
  const { node, facts } = answering.find((one) => one.facts?.replica === false) ?? answering[0] ?? {};
  if (!node || !facts) return [];
  const scheduled = node.settings["shared_preload_libraries"]?.includes("pg_cron") === true;
  return rolesDrift(
    {
      container: node.container,
      roles: serverRoles(generations),
      database: DATABASE,
      extensions: [...EXTENSIONS.always, ...(scheduled ? EXTENSIONS.scheduled : [])],
      // A plan with other generations of passwords does not say what there should be now.
      verifiers:
        planned && isDeepStrictEqual(generationsOf(planned), generations)
          ? loginVerifiers(generations, passwordsOf(planned))
          : undefined,
    },
    facts,
    node.name,
    remedies,
  );
}

/** A cell of the table: rules of pg_hba.conf are long, and `--json` has them whole. */
const clip = (cell: string): string => (cell.length > 60 ? `${cell.slice(0, 59)}…` : cell);

/** The findings as a table for people. */
export const driftText = (drift: readonly Finding[]): string =>
  [
    `drift: what runs differs from the stack's state in ${drift.length === 1 ? "one place" : `${drift.length} places`}`,
    table([
      ["where", "what", "expected", "found", "what to do"],
      ...drift.map(({ where, what, expected, found, remedy }) => [where, what, clip(expected), clip(found), remedy]),
    ]),
  ].join("\n");
