/** A server as the doctor knows it, for tests of pure judgements. */
import type { Check, Judged } from "../../doctor/check.ts";
import type { Facts, StackFacts } from "../../doctor/facts.ts";
import type { Finding } from "../../doctor/finding.ts";
import { thresholds } from "../../doctor/thresholds.ts";

export const NOW = Date.UTC(2026, 10, 25, 12);
export const DAY_MS = 86_400_000;

/** PostgreSQL 17, alone, that has counted for thirty days. */
export const facts = (changes: Partial<Facts> = {}): Facts => ({
  version: 170_006,
  inRecovery: false,
  database: "app",
  role: "watcher",
  seesAll: true,
  listsArchive: true,
  now: NOW,
  startedAt: NOW - 30 * DAY_MS,
  resetAt: null,
  blockBytes: 8192,
  standbys: 0,
  statementsMax: 5000,
  extensions: [{ name: "pg_stat_statements", schema: "public", version: "1.11" }],
  citusGroup: null,
  server: null,
  thresholds: thresholds(),
  stack: undefined,
  hardware: undefined,
  otherSchemas: [],
  countingSince: NOW - 30 * DAY_MS,
  replicasAsked: [],
  replicasSilent: [],
  ...changes,
});

export const stackFacts = (changes: Partial<StackFacts> = {}): StackFacts => ({
  name: "dev",
  target: "docker",
  command: (words) => `./cgraph-db ${words}`,
  followers: [],
  settings: {},
  otherwiseSet: [],
  pool: null,
  verification: undefined,
  ...changes,
});

export const judged = <Row>(check: Check<Row>, rows: readonly Row[], changes: Partial<Facts> = {}): Judged =>
  check.judge(rows, facts(changes));

/** `warning app.messages` of each finding. */
export const brief = ({ findings }: { readonly findings: readonly Finding[] }): string[] =>
  findings.map(({ severity, subject }) => `${severity} ${subject}`);

export const fixes = ({ findings }: { readonly findings: readonly Finding[] }): string[] =>
  findings.flatMap(({ fix }) => fix);
