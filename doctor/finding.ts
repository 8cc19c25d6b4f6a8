/** What the doctor finds, and how grave it is. Pure. */

/** Worst first. */
export const SEVERITIES = ["critical", "warning", "info"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Every check by its id, in the order in which they are told. */
export const CHECKS = {
  "transaction-id": "transaction ids left before the server stops",
  archiver: "WAL that is not archived",
  "replication-slot": "replication slots that keep WAL or that nobody reads",
  "replication-lag": "replicas that are behind or gone",
  connections: "client connections of max_connections",
  "pool-sum": "sizes of the stack's pools against max_connections",
  "lock-wait": "who waits for whose lock",
  "long-transaction": "transactions open for long",
  "idle-in-transaction": "transactions open for long in which nothing happens",
  "slow-query": "statements that take long",
  "n-plus-one": "single rows looked up one by one",
  "missing-index": "large tables read from start to end",
  "unused-index": "indexes that nothing has used",
  "duplicate-index": "indexes that another one holds",
  "invalid-index": "indexes that cannot be used",
  "table-bloat": "tables larger than their rows",
  "index-bloat": "btree indexes larger than their entries",
  "dead-tuples": "dead rows that vacuum has not removed",
  "cache-hit": "blocks found in shared buffers",
  sequence: "sequences, and integer columns behind them, near their end",
  "primary-key": "tables without a primary key",
  partition: "partitions running out",
  setting: "settings that endanger data, or differ from what the hardware asks for",
  "every-shard": "statements of a Citus cluster that ask every shard",
  "shard-join": "joins of distributed tables that carry rows between nodes",
  "shard-skew": "nodes and shards that hold more than their share, or nothing",
  "hot-tenant": "tenants that take much of a node's time",
  "citus-table": "tables on the coordinator alone, and large reference tables",
  "citus-node": "nodes that are not there, of other versions, or lack what Citus needs",
  "citus-transaction": "writes over several nodes that were prepared and not ended",
  "backup-verification": "backups that nobody has tried",
  disk: "disk in use",
} as const;
export type CheckId = keyof typeof CHECKS;
export const CHECK_IDS = Object.keys(CHECKS) as readonly CheckId[];

/** A figure or a list of names; units are in its name. */
export type Evidence = Readonly<Record<string, number | string | boolean | null | readonly string[]>>;

export interface Finding {
  readonly check: CheckId;
  readonly severity: Severity;
  /** The stack's server that it is about; null where that is the database as a whole, or the only server asked. */
  readonly server: string | null;
  /** What it is about, quoted as SQL where it is a name there. */
  readonly subject: string;
  /** The figures in a sentence. */
  readonly says: string;
  readonly evidence: Evidence;
  /** Statements of SQL, each with its semicolon, and commands of a shell (they begin with `./`); in this order. */
  readonly fix: readonly string[];
  /** What to know before; null: nothing. */
  readonly note: string | null;
}

/** A check, or a part of it, that could not be done. */
export interface NotChecked {
  readonly check: CheckId;
  readonly reason: string;
}

/** A finding as a check makes it: what is nothing may be left out. */
export type FindingDraft = Omit<Finding, "server" | "fix" | "note" | "evidence"> & Partial<Finding>;

export const finding = (draft: FindingDraft): Finding => ({
  server: null,
  evidence: {},
  fix: [],
  note: null,
  ...draft,
});

/** The severity of a figure that is bad above its thresholds; undefined where it is well. */
export function above(value: number, warning: number, critical: number): "warning" | "critical" | undefined {
  return value > critical ? "critical" : value > warning ? "warning" : undefined;
}

/** Worst first, then in the order of CHECKS; otherwise as they came. */
export const sorted = (findings: readonly Finding[]): Finding[] =>
  [...findings].sort(
    (a, b) =>
      SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
      CHECK_IDS.indexOf(a.check) - CHECK_IDS.indexOf(b.check),
  );

export type Counts = Readonly<Record<Severity, number>>;
export const countsOf = (findings: readonly Finding[]): Counts => {
  const count = (severity: Severity): number => findings.filter((one) => one.severity === severity).length;
  return { critical: count("critical"), warning: count("warning"), info: count("info") };
};

/** 2 where something is critical, 1 where there is a warning; information does not count. */
export const exitCodeOf = ({ critical, warning }: Counts): 0 | 1 | 2 => (critical > 0 ? 2 : warning > 0 ? 1 : 0);
