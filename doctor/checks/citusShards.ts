/** Where a Citus cluster's rows are: tables, shards and nodes, as the coordinator knows them. */
import { literal } from "../../components/sqlText.ts";
import { bytes, count } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { type Facts, isCitusCoordinator } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { ofApplication, qualified, rootOf } from "../sql.ts";
import { sum } from "../whole.ts";

export interface CitusTableRow {
  /** Quoted, with its schema. */
  readonly table: string;
  readonly schema: string;
  readonly name: string;
  /** `local`: on the coordinator alone. `other`: of a schema that is whole on one node. */
  readonly kind: "distributed" | "reference" | "local" | "other";
  /** Of a distributed table. */
  readonly distributedBy: string | null;
  readonly colocation: number | null;
  /** Of a distributed table, or of one of its partitions. */
  readonly shards: number;
  /** Of one copy, with indexes, partitions included; of a local table what is on the coordinator. */
  readonly bytes: number;
  /** The planner's estimate, of a local table. */
  readonly rows: number;
  /** A column of a local table by which another one is distributed, and that table, both quoted. */
  readonly like: { readonly column: string; readonly table: string } | null;
}

/** Shards of all tables that are together, because their rows belong together. */
export interface ShardGroup {
  readonly colocation: number;
  readonly node: string;
  readonly bytes: number;
  /** The largest table's shard in it. */
  readonly largest: string;
}

export interface ShardNode {
  /** `host:port` */
  readonly node: string;
  /** Distributed shards, all tables together. */
  readonly groups: number;
}

export interface CitusShardsRow {
  readonly tables: readonly CitusTableRow[];
  readonly groups: readonly ShardGroup[];
  /** Nodes that are to hold distributed tables. */
  readonly nodes: readonly ShardNode[];
}

const NODE = "n.nodename || ':' || n.nodeport";

/** Sizes come from every node, in one query each: all checks read the same answer. */
export const citusShards: Query<CitusShardsRow> = {
  name: "citus-shards",
  asked: "monitor",
  needs: [],
  sql: (facts) => `WITH placed AS MATERIALIZED (
      SELECT ${rootOf("s.table_name")} AS root, s.table_name, s.shardid, s.colocation_id, s.citus_table_type AS type,
        s.shard_size, ${NODE} AS node
      FROM citus_shards s JOIN pg_dist_node n ON n.nodename = s.nodename AND n.nodeport = s.nodeport
      WHERE n.noderole = 'primary'),
    sized AS (SELECT root, sum(shard_size)::float8 / count(DISTINCT node) AS whole, sum(shard_size)::float8 AS parts,
        count(DISTINCT shardid) FILTER (WHERE table_name = root) AS shards
      FROM placed GROUP BY root),
    groups AS (SELECT colocation_id AS colocation, node, sum(shard_size)::float8 AS bytes, count(DISTINCT root) AS tables,
        (array_agg(table_name::text || '_' || p.shardid ORDER BY shard_size DESC))[1] AS largest
      FROM placed p JOIN pg_dist_shard d ON d.shardid = p.shardid
      WHERE type = 'distributed' GROUP BY colocation_id, d.shardminvalue, node),
    tables AS (SELECT ${qualified("n", "c")} AS table, n.nspname AS schema, c.relname AS name,
        CASE WHEN d.partmethod = 'h' THEN 'distributed' WHEN d.partmethod = 'n' AND d.repmodel = 't' THEN 'reference'
          WHEN d.partmethod = 'n' AND d.colocationid <> 0 THEN 'other' ELSE 'local' END AS kind,
        CASE WHEN d.partmethod = 'h' THEN column_to_column_name(d.logicalrelid, d.partkey) END AS "distributedBy",
        d.colocationid AS colocation, coalesce(z.shards, 0) AS shards, c.oid,
        coalesce(CASE WHEN d.repmodel = 't' THEN z.whole ELSE z.parts END, 0) AS bytes
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_dist_partition d ON d.logicalrelid = c.oid LEFT JOIN sized z ON z.root = c.oid
      WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND ${ofApplication(facts)}),
    locals AS (SELECT t.oid, sum(pg_total_relation_size(l.oid))::float8 AS bytes, sum(greatest(l.reltuples, 0))::float8 AS rows
      FROM tables t JOIN pg_class l ON l.oid = t.oid OR pg_partition_root(l.oid) = t.oid
      WHERE t.kind = 'local' GROUP BY t.oid)
    SELECT (SELECT coalesce(json_agg(json_build_object('table', t.table, 'schema', schema, 'name', name, 'kind', kind,
          'distributedBy', "distributedBy", 'colocation', colocation, 'shards', shards,
          'bytes', coalesce(l.bytes, t.bytes), 'rows', coalesce(l.rows, 0),
          'like', (SELECT json_build_object('column', quote_ident(a.attname), 'table', o.table) FROM pg_attribute a
            JOIN tables o ON o."distributedBy" = a.attname
            JOIN pg_attribute b ON b.attrelid = o.oid AND b.attname = a.attname AND b.atttypid = a.atttypid
            WHERE t.kind = 'local' AND a.attrelid = t.oid AND a.attnum > 0 AND a.attname <> 'id'
            ORDER BY a.attnum, o.table LIMIT 1)) ORDER BY t.table), '[]')
        FROM (SELECT * FROM tables) t LEFT JOIN locals l ON l.oid = t.oid) AS tables,
      (SELECT coalesce(json_agg(json_build_object('colocation', colocation, 'node', node, 'bytes', bytes,
        'largest', largest)), '[]') FROM groups) AS groups,
      (SELECT coalesce(json_agg(json_build_object('node', ${NODE},
          'groups', (SELECT count(*) FROM groups g WHERE g.node = ${NODE}))), '[]')
        FROM pg_dist_node n WHERE n.noderole = 'primary' AND n.isactive AND n.shouldhaveshards) AS nodes`,
};

const mean = (values: readonly number[]): number => (values.length === 0 ? 0 : sum(values) / values.length);

/** How a stack spreads its shards, or anybody does. */
const rebalance = ({ stack }: Pick<Facts, "stack">): string[] =>
  stack ? [stack.command("workers rebalance")] : ["SELECT citus_rebalance_start();"];

const times = (factor: number): string => `${factor.toFixed(1)} times`;

function emptyNodes({ nodes }: CitusShardsRow, facts: Facts): Finding[] {
  if (sum(nodes.map(({ groups }) => groups)) < nodes.length) return [];
  return nodes
    .filter(({ groups }) => groups === 0)
    .map(({ node }) =>
      finding({
        check: "shard-skew",
        severity: "warning",
        subject: `node ${node}`,
        says: "has no shard of a distributed table: it was added, and nothing was moved to it",
        evidence: { shards: 0, nodes: nodes.length },
        fix: rebalance(facts),
        note: "shards are moved while they are in use; writes to one wait for seconds when it is handed over",
      }),
    );
}

function skewedNodes({ nodes, groups }: CitusShardsRow, facts: Facts): Finding[] {
  const { nodeSkew, nodeSkewBytes } = facts.thresholds;
  const sizes = nodes
    .filter((one) => one.groups > 0)
    .map(({ node }) => ({ node, bytes: sum(groups.filter((one) => one.node === node).map((one) => one.bytes)) }));
  const average = mean(sizes.map((one) => one.bytes));
  return sizes
    .filter((one) => one.bytes > nodeSkew * average && one.bytes - average >= nodeSkewBytes)
    .map((one) =>
      finding({
        check: "shard-skew",
        severity: "warning",
        subject: `node ${one.node}`,
        says: `holds ${bytes(one.bytes)}, ${times(one.bytes / average)} the mean of ${sizes.length} nodes (${bytes(average)})`,
        evidence: { bytes: one.bytes, meanBytes: Math.round(average), nodes: sizes.length },
        fix: rebalance(facts),
        note: "spreads shards by their sizes; what one shard alone has too much it cannot spread",
      }),
    );
}

function skewedShards({ groups }: CitusShardsRow, { thresholds, stack }: Facts): Finding[] {
  return [...new Set(groups.map(({ colocation }) => colocation))].flatMap((colocation) => {
    const own = groups.filter((one) => one.colocation === colocation);
    const average = mean(own.map((one) => one.bytes));
    return own
      .filter((one) => one.bytes > thresholds.shardSkew * average && one.bytes - average >= thresholds.shardSkewBytes)
      .map((one) =>
        finding({
          check: "shard-skew",
          severity: "warning",
          subject: `shard ${one.largest}`,
          says: `it and those beside it hold ${bytes(one.bytes)}, ${times(one.bytes / average)} the mean of ${own.length} shards (${bytes(average)}), on ${one.node}`,
          evidence: { bytes: one.bytes, meanBytes: Math.round(average), shards: own.length, node: one.node },
          fix: stack ? [stack.command("isolate-tenant ID")] : [],
          note: "one value of the distribution column may have most of its rows (hot-tenant, or count them by it): give that a shard of its own",
        }),
      );
  });
}

/** A node or a shard with much more than its share, and nodes that were given nothing. */
export const shardSkewCheck: Check<CitusShardsRow> = {
  id: "shard-skew",
  query: citusShards,
  applies: isCitusCoordinator,
  judge: ([row], facts) => ({
    findings: row ? [...emptyNodes(row, facts), ...skewedNodes(row, facts), ...skewedShards(row, facts)] : [],
  }),
};

function localFinding({ table, rows, bytes: size, like }: CitusTableRow, { thresholds }: Facts): Finding {
  return finding({
    check: "citus-table",
    severity: rows > thresholds.localTableRows ? "warning" : "info",
    subject: table,
    says: `is on the coordinator alone, about ${count(rows)} rows, ${bytes(size)}: no worker helps it, and joins with distributed tables copy it`,
    evidence: { rows, bytes: size, likeTable: like?.table ?? null, likeColumn: like?.column ?? null },
    fix: [
      like
        ? `SELECT create_distributed_table(${literal(table)}, ${literal(like.column)}, colocate_with => ${literal(like.table)});`
        : `SELECT create_reference_table(${literal(table)});`,
    ],
    note: like
      ? "its primary key and unique indexes must have that column in them; while rows are moved, writes to it wait"
      : "for a table that is read everywhere and seldom written; one of many rows is distributed by the user that they belong to",
  });
}

function referenceFinding(row: CitusTableRow, { thresholds }: Facts): Finding {
  return finding({
    check: "citus-table",
    severity: row.bytes > thresholds.referenceWarningBytes ? "warning" : "info",
    subject: row.table,
    says: `is a reference table of ${bytes(row.bytes)}, whole on every node: each write to it goes to all of them`,
    evidence: { bytes: row.bytes },
    note: "what belongs to one user is better distributed (undistribute_table, then create_distributed_table); columns that are seldom read may get a table of their own",
  });
}

/** Tables that are where they do not scale: on the coordinator alone, or whole on every node though they are large. */
export const citusTableCheck: Check<CitusShardsRow> = {
  id: "citus-table",
  query: citusShards,
  applies: isCitusCoordinator,
  judge: ([row], facts) => ({
    findings: (row?.tables ?? []).flatMap((table): Finding[] => {
      if (table.kind === "local") return [localFinding(table, facts)];
      const isLarge = table.kind === "reference" && table.bytes > facts.thresholds.referenceBytes;
      return isLarge ? [referenceFinding(table, facts)] : [];
    }),
  }),
};
