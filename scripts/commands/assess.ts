import type { Client } from "pg";
import { chooseHistories } from "../../assess/history.ts";
import type { Metric } from "../../assess/metrics.ts";
import { type AssessReport, reportOf } from "../../assess/report.ts";
import { UserError } from "../../tuning/errors.ts";
import { Findings } from "../assess/findings.ts";
import { keep, keptFile } from "../assess/kept.ts";
import { readLoad } from "../assess/load.ts";
import { readPrometheus } from "../assess/prometheus.ts";
import { hasMessages, readTables } from "../assess/tables.ts";
import { renderMarkdown, renderTerminal } from "../assess/terminal.ts";
import { parseSource, publicUrl } from "../import/source.ts";
import { type DatabasePlace, knownStackValues, looking, valueOf, withDatabase } from "../lib/databaseClient.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import type { AnyStackValues } from "../lib/stack.ts";
import { readStackConfig } from "../lib/stackConfig.ts";
import { checkPage, writePage } from "../report/pageFile.ts";

export interface AssessFlags {
  readonly stack: string;
  readonly url?: string;
  readonly prometheus?: string;
  readonly days: string;
  readonly seconds: string;
  readonly json?: boolean;
  readonly markdown?: boolean;
  readonly html?: string;
}

const APPLICATION = "cgraph-db assess";
/** Prometheus gives up to 11 000 values; we ask for one an hour. */
const MOST_DAYS = 400;

function wholeNumber(name: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new UserError(`--${name} is "${text}"`, `give a whole number, 1 to ${most}`);
}

interface DatabaseFacts {
  readonly name: string;
  readonly bytes: number;
  readonly isReplica: boolean;
}

const FACTS_SQL = `SELECT json_build_object('name', current_database(), 'bytes', pg_database_size(current_database()),
  'isReplica', pg_is_in_recovery()) AS value`;

/** As who monitors; with a URL as its user. */
const at = <T>(flags: AssessFlags, role: DatabasePlace["role"], work: (client: Client) => Promise<T>): Promise<T> =>
  withDatabase({ stack: flags.stack, role, ...(flags.url === undefined ? {} : { url: flags.url }) }, APPLICATION, work);

/** What the servers' machine says, beside what the database says of itself. */
async function readMachine(values: AnyStackValues | undefined, findings: Findings): Promise<void> {
  if (values?.target === "docker") {
    await (await import("../assess/docker.ts")).readDocker(values, findings);
    return;
  }
  const why = values
    ? "CloudWatch has it; Prometheus is asked with --prometheus"
    : "only the database was asked, not its machine";
  for (const metric of ["cpuShare", "memoryShare", "diskShare", "poolShare"] as const) findings.lacks(metric, why);
}

/** The Prometheus that was named must answer; a stack's own may be down. */
async function askPrometheus(
  { prometheus }: AssessFlags,
  values: AnyStackValues | undefined,
  asked: Parameters<typeof readPrometheus>[1],
  findings: Findings,
): Promise<void> {
  const own = values?.target === "docker" ? values.endpoints.prometheus : null;
  const address = prometheus ?? (own ? `http://${own.host}:${own.port}` : undefined);
  if (address === undefined) return;
  await step("ask Prometheus", async () => {
    try {
      await readPrometheus(address, asked, findings);
    } catch (error) {
      if (prometheus !== undefined || !(error instanceof UserError)) throw error;
      findings.notes.push(`the stack's own Prometheus was not asked: ${error.message}`);
    }
    return { value: undefined, done: `${findings.histories.length} histories` };
  });
}

async function read(flags: AssessFlags, now: number, findings: Findings) {
  const [days, seconds] = [wholeNumber("days", flags.days, MOST_DAYS), wholeNumber("seconds", flags.seconds, 600)];
  const values = flags.url === undefined ? await knownStackValues(flags.stack) : undefined;
  const { facts, isCGraph } = await step("look at the database", async (progress) => {
    const found = await at(flags, "cgraph_monitor", async (client) => {
      const database = await looking(client, (looker) => valueOf<DatabaseFacts>(looker, FACTS_SQL));
      findings.measured("databaseBytes", database.bytes, "pg_database_size");
      const cgraph = await hasMessages(client);
      progress.detail(`${seconds} s of its load`);
      await readLoad(client, seconds, findings);
      return { facts: database, isCGraph: cgraph };
    });
    progress.detail("users and messages");
    // Times of rows are for those who may read them.
    if (found.isCGraph)
      await at(flags, "cgraph_readonly", (client) => readTables(client, found.facts.bytes, now, findings));
    await readMachine(values, findings);
    return { value: found, done: `database ${found.facts.name}` };
  });
  for (const metric of ["p95Ms", "p99Ms"] as const) {
    findings.lacks(metric, "PostgreSQL keeps no distribution of query times; Prometheus may (--prometheus)");
  }
  if (!isCGraph) {
    for (const metric of ["users", "messagesPerMonth"] as const) findings.lacks(metric, "there is no table messages");
  }
  if (facts.isReplica) findings.notes.push("this is a replica: it bears its own load, not the primary's");
  await askPrometheus(flags, values, { database: facts.name, days, now }, findings);
  return { values, facts, isCGraph };
}

/** What was measured last counts: Prometheus's days before our seconds. */
const latest = (findings: Findings) => [...new Map(findings.values.map((value) => [value.metric, value])).values()];

async function gather(flags: AssessFlags): Promise<AssessReport> {
  const now = Date.now();
  const findings = new Findings();
  const { values, facts, isCGraph } = await read(flags, now, findings);
  const place = flags.url === undefined ? undefined : parseSource(flags.url, process.env, "--url");
  const file = keptFile(place ? { database: publicUrl(place) } : { stack: flags.stack });
  const current = latest(findings);
  const seen = Object.fromEntries(current.map(({ metric, value }) => [metric, value])) as Partial<
    Record<Metric, number>
  >;
  const histories = chooseHistories([
    ...findings.histories,
    ...keep(file, now, seen).filter(({ samples }) => samples.length > 0),
  ]);
  const config = values ? readStackConfig(flags.stack) : {};
  return reportOf(
    {
      now,
      subject: place ? `database ${facts.name} at ${place.host}` : `stack ${flags.stack}`,
      target: values?.target ?? null,
      presentStage: values?.stage ?? null,
      isCGraph,
      values: current,
      histories,
      missing: findings.missing,
      assumed: findings.assumed,
      notes: findings.notes,
    },
    // A stack in Docker has settings that AWS knows nothing of, and the other way round.
    (key) => (values?.target === "aws" ? config[key] : undefined),
  );
}

/** `assess`: which stage fits, which limit is met first and when, what the next stage takes. */
export async function assess(flags: AssessFlags): Promise<void> {
  if (flags.json === true && flags.markdown === true) {
    throw new UserError("--json and --markdown do not go together", "give one of them");
  }
  if (flags.html !== undefined) checkPage(flags.html);
  const report = await gather(flags);
  if (flags.html !== undefined) {
    const { renderAssessHtml } = await import("../assess/html.ts");
    writePage(flags.html, renderAssessHtml(report));
  }
  if (flags.json === true) printJson(report);
  else print(flags.markdown === true ? renderMarkdown(report) : renderTerminal(report));
}
