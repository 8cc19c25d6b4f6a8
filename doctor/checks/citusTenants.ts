/** Tenants of a Citus cluster, values of distribution columns, that take much of a node's time. */
import { count } from "../../tuning/words.ts";
import { literal } from "../../components/sqlText.ts";
import type { Check, Query } from "../check.ts";
import { type Facts, isCitusCoordinator } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { sum } from "../whole.ts";

export interface TenantRow {
  /** `host:port` */
  readonly node: string;
  /** The value of the distribution column. */
  readonly tenant: string;
  /** A distributed table with such tenants, quoted. */
  readonly table: string | null;
  readonly queries: number;
  /** Seconds of processor time. */
  readonly cpuSeconds: number;
}

export interface TenantsRow {
  /** citus.stat_tenants_track */
  readonly track: string | null;
  /** Seconds over which they were counted. */
  readonly periodSeconds: number;
  /** Of the last whole period, the hottest of each node. */
  readonly tenants: readonly TenantRow[];
}

const tenants: Query<TenantsRow> = {
  name: "citus-tenants",
  asked: "monitor",
  needs: ["pg_monitor"],
  sql: () => `SELECT current_setting('citus.stat_tenants_track', true) AS track,
      coalesce(current_setting('citus.stat_tenants_period', true)::float8, 60) AS "periodSeconds",
      (SELECT coalesce(json_agg(json_build_object('node', n.nodename || ':' || n.nodeport, 'tenant', t.tenant_attribute,
          'table', (SELECT p.logicalrelid::text FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid
            WHERE p.colocationid = t.colocation_id AND NOT c.relispartition ORDER BY c.relname LIMIT 1),
          'queries', t.query_count_in_last_period, 'cpuSeconds', t.cpu_usage_in_last_period)), '[]')
        FROM citus_stat_tenants t JOIN pg_dist_node n ON n.nodeid = t.nodeid
        WHERE t.tenant_attribute IS NOT NULL AND t.query_count_in_last_period > 0) AS tenants`,
};

function tenantFinding(one: TenantRow, beside: readonly TenantRow[], row: TenantsRow, { stack }: Facts): Finding {
  const cpuPercent = Math.round((100 * one.cpuSeconds) / row.periodSeconds);
  const share = Math.round((100 * one.cpuSeconds) / sum(beside.map(({ cpuSeconds }) => cpuSeconds)));
  const queryShare = Math.round((100 * one.queries) / sum(beside.map(({ queries }) => queries)));
  return finding({
    check: "hot-tenant",
    severity: "warning",
    subject: `tenant ${one.tenant} on ${one.node}`,
    says: `${cpuPercent} % of a processor in the last ${row.periodSeconds} s, ${share} % of what all tenants of the node took; ${count(one.queries)} queries (${queryShare} %)`,
    evidence: {
      node: one.node,
      tenant: one.tenant,
      cpuSeconds: Number(one.cpuSeconds.toPrecision(3)),
      cpuSharePercent: share,
      queries: one.queries,
      querySharePercent: queryShare,
      periodSeconds: row.periodSeconds,
    },
    fix: stack
      ? [stack.command(`isolate-tenant ${one.tenant}`)]
      : one.table === null
        ? []
        : [
            `SELECT isolate_tenant_to_new_shard(${literal(one.table)}, ${literal(one.tenant)}, 'CASCADE', shard_transfer_mode => 'auto');`,
          ],
    note: "gives it a shard of its own, which can be moved to a node with room; see first whether a loop of the application asks so much",
  });
}

/** Tenants that take much of a processor, and much of what their node does. */
export const hotTenantCheck: Check<TenantsRow> = {
  id: "hot-tenant",
  query: tenants,
  applies: isCitusCoordinator,
  judge([row], facts) {
    if (!row) return { findings: [] };
    if (row.track !== "all") {
      return {
        findings: [],
        notChecked: "citus.stat_tenants_track is none: ALTER SYSTEM SET citus.stat_tenants_track = 'all' on every node",
      };
    }
    const { tenantCpuPercent, tenantSharePercent } = facts.thresholds;
    const findings = row.tenants.flatMap((one): Finding[] => {
      const beside = row.tenants.filter(({ node }) => node === one.node);
      const all = sum(beside.map(({ cpuSeconds }) => cpuSeconds));
      const isHot =
        one.cpuSeconds >= (tenantCpuPercent / 100) * row.periodSeconds &&
        one.cpuSeconds >= (tenantSharePercent / 100) * all;
      return isHot ? [tenantFinding(one, beside, row, facts)] : [];
    });
    return { findings };
  },
};
