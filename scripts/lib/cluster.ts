/** Who leads a stack's servers at the moment, as Patroni says. */
import type { NodeOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { RegionWatch, outOfReach } from "../regions/reach.ts";
import { citusOf, clusterViews, regionalViews } from "./clusters.ts";
import { docker } from "./docker.ts";
import { InContainer } from "./inContainer.ts";
import { type Step, step } from "./progress.ts";
import { run } from "./run.ts";

/** One server, as Patroni's /cluster tells it. */
export interface Member {
  readonly name: string;
  /** leader, sync_standby or replica. */
  readonly role: string;
  /** running, streaming, starting, creating replica, stopped, … */
  readonly state: string;
  readonly timeline?: number;
  /** Bytes of WAL that a replica lacks; "unknown" while it does not answer. */
  readonly lag?: number | string;
}

export const isCluster = (values: StackValues): boolean => values.services.some(({ kind }) => kind === "etcd");
export const isLeader = (member: Member): boolean => member.role === "leader" || member.role === "standby_leader";
export const isServing = (member: Member): boolean => ["running", "streaming"].includes(member.state);
/** A primary that runs, or a replica that receives what the primary writes: one that merely runs may be far behind. */
export const isInStep = (member: Member): boolean =>
  isLeader(member) ? isServing(member) : member.state === "streaming";

const TLS = "/run/cgraph-tls";

/** What Patroni answers; status 0 where it does not. */
export interface PatroniAnswer {
  readonly status: number;
  readonly text: string;
}

/** How curl in a server's container reaches that server's Patroni. */
export const PATRONI_CURL = ["--cacert", `${TLS}/ca.crt`, "--cert", `${TLS}/server.crt`, "--key", `${TLS}/server.key`];

const curlArguments = (method: "GET" | "POST", path: string, body: unknown, timeoutSeconds: number): string[] => [
  ...["--silent", "--max-time", String(timeoutSeconds), ...PATRONI_CURL],
  ...["--request", method, "--write-out", "\n%{http_code}"],
  ...(body === undefined ? [] : ["--header", "Content-Type: application/json", "--data", JSON.stringify(body)]),
  `https://localhost:8008${path}`,
];

function parseAnswer(stdout: string): PatroniAnswer {
  const end = stdout.lastIndexOf("\n");
  return { status: Number(stdout.slice(end + 1)) || 0, text: stdout.slice(0, Math.max(0, end)) };
}

/** A request to a server's Patroni from inside of its container. */
export async function patroni(
  container: string,
  method: "GET" | "POST",
  path: string,
  body?: unknown,
  timeoutSeconds = 5,
): Promise<PatroniAnswer> {
  const command = ["exec", "--user", "postgres", container, "curl"];
  const { stdout } = await run("docker", [...command, ...curlArguments(method, path, body, timeoutSeconds)]);
  return parseAnswer(stdout);
}

/** A request that is ready to be sent: for when clients wait. */
export interface PreparedRequest {
  send(): Promise<PatroniAnswer>;
  /** Gives it up, unsent. */
  drop(): void;
}

export function preparePatroni(
  container: string,
  path: string,
  body: unknown,
  timeoutSeconds: number,
): PreparedRequest {
  const args = curlArguments("POST", path, body, timeoutSeconds);
  const curl = new InContainer(container, 'read -r _ && exec curl "$@"', args, "postgres");
  return {
    async send() {
      curl.go();
      return parseAnswer(await curl.output());
    },
    drop: () => curl.drop(),
  };
}

/** Every server that Patroni knows, in no order. Throws a UserError where no server answers. */
export async function clusterMembers(values: StackValues): Promise<Member[]> {
  for (const { container } of values.nodes) {
    const { status, text } = await patroni(container, "GET", "/cluster");
    if (status === 200) return (JSON.parse(text) as { members: Member[] }).members;
  }
  throw new UserError(
    "no server of the cluster answers",
    "see ./cgraph-db status and ./cgraph-db logs pg0",
    EXIT.failed,
  );
}

const nodeOf = (values: StackValues, name: string): NodeOutput => {
  const node = values.nodes.find((one) => one.name === name);
  if (!node)
    throw new UserError(`there is no server ${name}`, `use one of ${values.nodes.map((n) => n.name).join(", ")}`);
  return node;
};

/** The server that takes writes now. Throws a UserError where none does. */
export async function currentPrimary(values: StackValues): Promise<NodeOutput> {
  const [only] = values.nodes;
  if (only && !isCluster(values)) return only;
  const leader = (await clusterMembers(values)).find(isLeader);
  if (!leader) {
    throw new UserError(
      "no server takes writes at the moment",
      "a failover takes up to 25 seconds; see ./cgraph-db status",
      EXIT.failed,
    );
  }
  return nodeOf(values, leader.name);
}

/**
 * Whether a primary is lost and no other has taken over yet. A leader that is gone counts as lost before its lease has
 * run out: what counts is whether it answers. False where no server runs at all.
 */
export async function isFailingOver(values: StackValues): Promise<boolean> {
  if (!isCluster(values)) return false;
  const members = await clusterMembers(values).catch(() => undefined);
  if (!members) return false;
  const leader = members.find(isLeader);
  const node = values.nodes.find(({ name }) => name === leader?.name);
  if (!node) return true;
  const { status, text } = await patroni(node.container, "GET", "/primary");
  return !(status === 200 && (JSON.parse(text) as { role?: string }).role === "primary");
}

/** Runs SQL as the superuser inside of a server's container; gives rows as psql prints them, unaligned. */
export const superuserSql = (container: string, sql: string, database = "postgres"): Promise<string> =>
  docker([
    "exec",
    "--user",
    "postgres",
    container,
    "psql",
    "-XAtq",
    "-v",
    "ON_ERROR_STOP=1",
    "-d",
    database,
    "-c",
    sql,
  ]).then((text) => text.trim());

/** Servers that are not in step yet, with what they do. */
function unsettled(values: StackValues, members: readonly Member[]): string[] {
  const waiting = values.nodes.flatMap((node) => {
    const member = members.find((one) => one.name === node.name);
    return member && isInStep(member) ? [] : [`${node.name} ${member?.state ?? "starting"}`];
  });
  return members.some(isLeader) ? waiting : ["no primary yet", ...waiting];
}

/** How long the servers' states may stay the same before waiting for them is given up; a copy may take its time. */
const PATIENCE_MS = 120_000;
/** How often the copy of a replica may fail. */
const FAILED_COPIES = 3;

/**
 * Waits until each of a stack's clusters has a primary and every replica follows it. A replica that is being copied is
 * waited for, and a primary that comes from the backups.
 */
export async function settle(values: StackValues): Promise<void> {
  if (!isCluster(values)) return;
  const distributed = citusOf(values) ?? undefined;
  // Elsewhere nobody takes writes.
  const writing = new Set(clusterViews(values).flatMap((view) => view.values.nodes.map(({ name }) => name)));
  for (const view of regionalViews(values)) {
    await settleCluster(view.name === "" ? "servers" : view.name, view.values);
    if (distributed && view.values.nodes.some(({ name }) => writing.has(name))) await awaitReady(view.values);
  }
}

/**
 * Waits until a cluster's primary has done what it does when it has become one, roles and rights above all: it leads before
 * that. Citus' nodes ask each other for rights.
 */
export async function awaitReady(values: StackValues): Promise<void> {
  for (const until = Date.now() + PATIENCE_MS; ; await new Promise((resolve) => setTimeout(resolve, 300))) {
    const { name, container } = await currentPrimary(values);
    if ((await run("docker", ["exec", container, "test", "-e", READY_FILE])).code === 0) return;
    if (Date.now() < until) continue;
    throw new UserError(`${name} does not get ready`, `see ./cgraph-db logs ${name}`, EXIT.failed);
  }
}
/** images/postgres/bin/cgraph-lib's READY. */
const READY_FILE = "/tmp/cgraph-ready";

async function settleCluster(title: string, values: StackValues): Promise<void> {
  await step(title, async (progress: Step) => {
    const states = new Map<string, string>();
    const failures = new Map<string, number>();
    const regions = new RegionWatch(values);
    let changed = Date.now();
    for (;;) {
      const members = await clusterMembers(values).catch(() => []);
      const waiting = unsettled(values, members);
      if (waiting.length === 0) break;
      const text = waiting.join(", ");
      progress.detail(text);
      const troubles = await regions.lasting();
      if (troubles.length > 0) throw outOfReach(troubles, values, `the servers do not come together: ${text}`);
      for (const { name, state } of members) {
        if (state === "creating replica" || state === "running custom bootstrap script") changed = Date.now();
        if (states.get(name) === "creating replica" && state === "stopped") {
          failures.set(name, (failures.get(name) ?? 0) + 1);
        }
        if (states.get(name) !== state) changed = Date.now();
        states.set(name, state);
      }
      const failing = [...failures].find(([, count]) => count >= FAILED_COPIES)?.[0];
      if (failing !== undefined || Date.now() - changed > PATIENCE_MS) {
        throw new UserError(
          failing === undefined ? `the servers do not come together: ${text}` : `${failing} cannot copy the primary`,
          `see ./cgraph-db logs ${failing ?? values.nodes.at(-1)?.name ?? ""}; the primary serves meanwhile`,
          EXIT.failed,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    return { value: undefined, done: `${values.nodes.length} in step` };
  });
}
