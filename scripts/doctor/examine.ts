/** Asks a database what the checks want to know, and has them judge it. */
import { type TableScanRow, tableScans } from "../../doctor/advice/tables.ts";
import { type Asked, type Check, type Query, whyNot } from "../../doctor/check.ts";
import { ALL_CHECKS } from "../../doctor/checks/all.ts";
import { type CitusShardsRow, citusShards } from "../../doctor/checks/citusShards.ts";
import { shardFindings } from "../../doctor/checks/citusStatements.ts";
import { missingIndexFindings } from "../../doctor/checks/missingIndexes.ts";
import { type StatementsRow, statements } from "../../doctor/checks/statements.ts";
import {
  CITUS_GROUP_SQL,
  FACTS_SQL,
  type Facts,
  type HardwareFacts,
  type ServerFacts,
  extensionOf,
  isCitusCoordinator,
  otherSchemas,
} from "../../doctor/facts.ts";
import { type Finding, type NotChecked, countsOf, sorted } from "../../doctor/finding.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import { MARK, asJson } from "../../doctor/sql.ts";
import { type Thresholds, thresholds } from "../../doctor/thresholds.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { advise } from "./advise.ts";
import type { Place, Replica } from "./place.ts";
import { askedShards } from "./shardPlans.ts";
import type { Session } from "./session.ts";

export interface ExamineOptions {
  readonly hardware?: HardwareFacts | undefined;
  /** Other figures than ours in some places, for tests. */
  readonly limits?: Partial<Thresholds>;
}

/** Rows of a query, or why there are none. */
type Answer = { readonly rows: readonly unknown[] } | { readonly reason: string };

/** One server with what it answered, by the queries' names. */
interface Server {
  readonly facts: Facts;
  readonly answers: ReadonlyMap<string, Answer>;
}

/** How long what a moment shows must last. */
const MOMENT_MS = 1000;
const OLDEST = 140_000;
const FACTS = FACTS_SQL.replace("SELECT", `SELECT ${MARK}`);

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Facts of one server alone; what the others add comes afterwards. `name`: as the stack calls it. */
function factsOf(server: ServerFacts, name: string | null, place: Place, options: ExamineOptions): Facts {
  const stack = place.stackFacts?.(name);
  return {
    ...server,
    citusGroup: null,
    server: place.replicas.length > 0 ? (name ?? place.address) : null,
    thresholds: thresholds(options.limits),
    stack,
    hardware: options.hardware,
    otherSchemas: otherSchemas(server, stack !== undefined),
    // Statistics outlive a restart: where they were never reset, the start is the latest that it can be.
    countingSince: server.resetAt ?? server.startedAt,
    replicasAsked: [],
    replicasSilent: [],
  };
}

/** Every query that the checks need, once. */
const QUERIES: readonly Query[] = [
  ...new Map(
    [...ALL_CHECKS.flatMap(({ query }) => query ?? []), tableScans].map((query) => [query.name, query]),
  ).values(),
];

const applies = (check: Check, facts: Facts): boolean => check.applies?.(facts) ?? true;

/** Whether a check that applies needs the query, or advice does. */
const isAsked = (query: Query, facts: Facts): boolean =>
  query.name === tableScans.name ||
  ALL_CHECKS.some((check) => check.query?.name === query.name && applies(check, facts));

async function answerOf(session: Session, query: Query, facts: Facts): Promise<Answer> {
  const reason = whyNot(query.needs, facts);
  if (reason !== undefined) return { reason };
  try {
    return { rows: (await session.ask(`SELECT ${MARK} ${asJson(query.sql(facts))}`)) as unknown[] };
  } catch (error) {
    return { reason: messageOf(error) };
  }
}

async function askPrimary(place: Place, facts: Facts): Promise<Server> {
  const sessions: Readonly<Record<Asked, Session>> = { monitor: place.monitor, reader: place.reader };
  const answers = new Map<string, Answer>();
  for (const query of QUERIES.filter((one) => isAsked(one, facts))) {
    answers.set(query.name, await answerOf(sessions[query.asked], query, facts));
  }
  return { facts, answers };
}

/** What each server says for itself, and what its counts add to the primary's. */
const OF_REPLICAS: readonly Query[] = QUERIES.filter(
  (query) =>
    query.add !== undefined || ALL_CHECKS.some((check) => check.each === true && check.query?.name === query.name),
);

/** A replica is asked everything at once: each question is a process of its own where it is in a container. */
async function askReplica(replica: Replica, place: Place, options: ExamineOptions): Promise<Server> {
  const facts = factsOf((await replica.ask(FACTS)) as ServerFacts, replica.name, place, options);
  const answers = new Map<string, Answer>();
  const asked: Query[] = [];
  for (const query of OF_REPLICAS) {
    const reason = whyNot(query.needs, facts);
    if (reason === undefined) asked.push(query);
    else answers.set(query.name, { reason });
  }
  const parts = asked.map((query) => `'${query.name}', ${asJson(query.sql(facts))}`);
  const rows = (await replica.ask(`SELECT ${MARK} json_build_object(${parts.join(", ")})`)) as Record<
    string,
    unknown[]
  >;
  for (const { name } of asked) answers.set(name, { rows: rows[name] ?? [] });
  return { facts, answers };
}

/** The primary with what its replicas have counted. */
function withReplicas(primary: Server, replicas: readonly Server[], silent: readonly string[]): Server {
  const answers = new Map(primary.answers);
  for (const query of QUERIES) {
    const own = answers.get(query.name);
    if (!query.add || !own || !("rows" in own)) continue;
    const others = replicas.flatMap(({ answers: theirs }) => {
      const answer = theirs.get(query.name);
      return answer && "rows" in answer ? answer.rows : [];
    });
    answers.set(query.name, { rows: query.add(own.rows, others) });
  }
  const facts: Facts = {
    ...primary.facts,
    countingSince: Math.max(
      primary.facts.countingSince,
      ...replicas.map(({ facts: { countingSince } }) => countingSince),
    ),
    replicasAsked: replicas.flatMap(({ facts: { server } }) => server ?? []),
    replicasSilent: silent,
  };
  return { facts, answers };
}

interface Told {
  readonly findings: Finding[];
  readonly notChecked: NotChecked[];
}

const sameThing = (a: Finding, b: Finding): boolean => a.check === b.check && a.subject === b.subject;

/** What a check says of a server. Of a moment's finding only what is still there a moment later. */
async function judge(check: Check, { facts, answers }: Server, session: Session | undefined): Promise<Told> {
  const answer: Answer = check.query ? (answers.get(check.query.name) ?? { reason: "it was not asked" }) : { rows: [] };
  const at = check.each === true && facts.server !== null ? `${facts.server}: ` : "";
  if ("reason" in answer) return { findings: [], notChecked: [{ check: check.id, reason: at + answer.reason }] };
  const judged = check.judge(answer.rows, facts);
  let { findings } = judged;
  if (check.momentary && check.query && session && findings.length > 0) {
    await new Promise((resolve) => setTimeout(resolve, MOMENT_MS));
    const again = await answerOf(session, check.query, facts);
    const later = "rows" in again ? check.judge(again.rows, facts).findings : [];
    findings = later.filter((one) => findings.some((before) => sameThing(one, before)));
  }
  const server = check.each === true ? facts.server : null;
  return {
    findings: findings.map((one) => ({ ...one, server })),
    notChecked: judged.notChecked === undefined ? [] : [{ check: check.id, reason: at + judged.notChecked }],
  };
}

async function missingIndexes({ facts, answers }: Server, reader: Session): Promise<Told> {
  const check = "missing-index";
  const scans = answers.get(tableScans.name) ?? { reason: "it was not asked" };
  const rows = answers.get(statements.name) ?? { reason: "it was not asked" };
  if ("reason" in scans) return { findings: [], notChecked: [{ check, reason: scans.reason }] };
  const tables = scans.rows as TableScanRow[];
  const known = "rows" in rows ? (rows.rows as StatementsRow[])[0]?.statements : undefined;
  const { advice, served } = await advise(reader, tables, known, facts);
  return {
    findings: missingIndexFindings(tables, advice, served, facts),
    notChecked: "reason" in rows ? [{ check, reason: `only tables, no statements: ${rows.reason}` }] : [],
  };
}

/** What Citus' planner says of statements; nothing where there is no coordinator. */
async function shardsAsked({ facts, answers }: Server, reader: Session): Promise<Told> {
  if (!isCitusCoordinator(facts)) return { findings: [], notChecked: [] };
  const shards = answers.get(citusShards.name) ?? { reason: "it was not asked" };
  const rows = answers.get(statements.name) ?? { reason: "it was not asked" };
  for (const answer of [shards, rows]) {
    if (!("reason" in answer)) continue;
    const { reason } = answer;
    return { findings: [], notChecked: (["every-shard", "shard-join"] as const).map((check) => ({ check, reason })) };
  }
  const [placed] = "rows" in shards ? (shards.rows as CitusShardsRow[]) : [];
  const [counted] = "rows" in rows ? (rows.rows as StatementsRow[]) : [];
  if (!placed || !counted) return { findings: [], notChecked: [] };
  const asked = await askedShards(reader, placed, counted.statements, facts);
  return { findings: shardFindings(asked, counted.total, facts), notChecked: [] };
}

/** Everything that there is to say. Throws a UserError where the server is too old or goes away. */
export async function examine(place: Place, options: ExamineOptions = {}): Promise<DoctorReport> {
  const began = performance.now();
  const server = (await place.monitor.ask(FACTS).catch((error: unknown) => {
    throw new UserError(`${place.address}: ${messageOf(error)}`, "see the server's log", EXIT.failed);
  })) as ServerFacts;
  if (server.version < OLDEST) {
    throw new UserError(
      `${place.address} is PostgreSQL ${Math.floor(server.version / 10_000)}: the doctor knows 14 and later`,
      "upgrade it: versions before 14 get no more fixes",
      EXIT.failed,
    );
  }
  const asked = await Promise.allSettled(place.replicas.map((replica) => askReplica(replica, place, options)));
  const replicas = asked.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const silent = asked.flatMap((one, index) =>
    one.status === "rejected" ? [`${place.replicas[index]?.name}: ${messageOf(one.reason)}`] : [],
  );
  const group = extensionOf(server, "citus") ? ((await place.monitor.ask(CITUS_GROUP_SQL)) as number) : null;
  const alone = await askPrimary(place, { ...factsOf(server, place.server, place, options), citusGroup: group });
  const primary = withReplicas(alone, replicas, silent);
  const told: Told[] = [];
  for (const check of ALL_CHECKS.filter((one) => applies(one, primary.facts))) {
    const { query } = check;
    const session = query ? { monitor: place.monitor, reader: place.reader }[query.asked] : undefined;
    told.push(await judge(check, primary, session));
    if (check.each !== true) continue;
    for (const replica of replicas) told.push(await judge(check, replica, undefined));
    told.push({ findings: [], notChecked: silent.map((reason) => ({ check: check.id, reason })) });
  }
  told.push(await missingIndexes(primary, place.reader));
  told.push(await shardsAsked(primary, place.reader));
  const findings = sorted(told.flatMap((one) => one.findings));
  return {
    database: server.database,
    address: place.address,
    version: server.version,
    role: server.inRecovery ? "replica" : "primary",
    stack: primary.facts.stack?.name ?? null,
    cluster: place.cluster,
    replicas: primary.facts.replicasAsked,
    checkedAt: new Date(server.now).toISOString(),
    statisticsSince: new Date(primary.facts.countingSince).toISOString(),
    seconds: Number(((performance.now() - began) / 1000).toFixed(2)),
    counts: countsOf(findings),
    findings,
    notChecked: told.flatMap((one) => one.notChecked),
  };
}
