/** Nodes of a Citus cluster: whether each can do its part, and what it lacks for writes over several nodes and for moves. */
import { duration } from "../../tuning/words.ts";
import { literal } from "../../components/sqlText.ts";
import type { Check, Query } from "../check.ts";
import { type Facts, isCitusCoordinator } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";

/** What a node answers; settings that a version does not have are left out. */
export interface NodeAnswer {
  readonly version: string;
  /** The extension's version in the database, and that of the library that is loaded. */
  readonly extension: string;
  readonly library: string;
  readonly settings: Readonly<Record<string, string>>;
  /** Prepared transactions of the database, the oldest first. */
  readonly prepared: readonly { readonly gid: string; readonly seconds: number }[];
}

export interface CitusNodeRow {
  /** `host:port` */
  readonly node: string;
  readonly group: number;
  readonly active: boolean;
  readonly hasMetadata: boolean;
  readonly metadataSynced: boolean;
  /** null: it was not asked, because it is inactive. */
  readonly answer: NodeAnswer | null;
  /** Why it did not answer. */
  readonly error: string | null;
}

const SETTINGS = ["max_prepared_transactions", "max_connections", "output_plugin_libraries", "wal_level"];

const ASKED = `SELECT json_build_object('version', current_setting('server_version'),
  'extension', (SELECT extversion FROM pg_extension WHERE extname = 'citus'),
  'library', substring(citus_version() FROM 'Citus ([0-9.]+)'),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings
    WHERE name IN (${SETTINGS.map(literal).join(", ")})),
  'prepared', (SELECT coalesce(json_agg(json_build_object('gid', gid,
      'seconds', extract(epoch FROM clock_timestamp() - prepared)) ORDER BY prepared), '[]')
    FROM pg_prepared_xacts WHERE database = current_database()))`;

const nodes: Query<CitusNodeRow> = {
  name: "citus-nodes",
  asked: "monitor",
  needs: [],
  sql: () => `WITH answers AS MATERIALIZED (SELECT * FROM run_command_on_all_nodes(${literal(ASKED)}))
    SELECT n.nodename || ':' || n.nodeport AS node, n.groupid AS group, n.isactive AS active,
      n.hasmetadata AS "hasMetadata", n.metadatasynced AS "metadataSynced",
      CASE WHEN a.success THEN a.result::json END AS answer, CASE WHEN NOT a.success THEN a.result END AS error
    FROM pg_dist_node n LEFT JOIN answers a ON a.nodeid = n.nodeid
    WHERE n.noderole = 'primary' ORDER BY n.groupid`,
};

const inquire = ({ stack }: Facts): string[] => (stack ? [stack.command("status")] : []);

function reachability(rows: readonly CitusNodeRow[], facts: Facts): Finding[] {
  return rows.flatMap(({ node, active, hasMetadata, metadataSynced, error }): Finding[] => {
    const [host = "", port = ""] = node.split(/:(?=\d+$)/);
    const told = (says: string, severity: Finding["severity"], fix: readonly string[]): Finding[] => [
      finding({
        check: "citus-node",
        severity,
        subject: `node ${node}`,
        says,
        evidence: { active, hasMetadata, metadataSynced, error },
        fix: [...fix, ...inquire(facts)],
      }),
    ];
    const start = `(${literal(host)}, ${port});`;
    if (!active)
      return told("is inactive: its shards are not asked", "critical", [`SELECT citus_activate_node${start}`]);
    if (error !== null) return told(`does not answer: ${error}`, "critical", []);
    if (hasMetadata && metadataSynced) return [];
    return told(
      "has not the cluster's metadata: it cannot take queries, and changes of tables wait for it",
      "warning",
      [`SELECT start_metadata_sync_to_node${start}`],
    );
  });
}

type Answered = CitusNodeRow & { readonly answer: NodeAnswer };
const isAnswered = (row: CitusNodeRow): row is Answered => row.answer !== null;

/** Versions that are not the coordinator's: for PostgreSQL within a major one for information, as while servers are renewed. */
function versions(rows: readonly Answered[], facts: Facts): Finding[] {
  const coordinator = rows.find(({ group }) => group === 0)?.answer;
  if (!coordinator) return [];
  return rows.flatMap(({ node, answer }): Finding[] => {
    const told = (what: string, mine: string, theirs: string, severity: Finding["severity"], fix: string[]): Finding =>
      finding({
        check: "citus-node",
        severity,
        subject: `node ${node}`,
        says: `${what} ${mine}, on the coordinator ${theirs}`,
        evidence: { version: mine, coordinatorVersion: theirs },
        fix,
      });
    const major = (version: string): string => version.split(".")[0] ?? "";
    const renew = facts.stack ? [facts.stack.command("up")] : [];
    const extended = `${major(answer.extension)}.${/\.(\d+)/.exec(answer.extension)?.[1] ?? ""}`;
    return [
      ...(answer.version === coordinator.version
        ? []
        : [
            told(
              "PostgreSQL",
              ...([answer.version, coordinator.version] as const),
              major(answer.version) === major(coordinator.version) ? "info" : "warning",
              renew,
            ),
          ]),
      ...(answer.library === coordinator.library
        ? []
        : [told("Citus", answer.library, coordinator.library, "warning", renew)]),
      ...(answer.library === extended || answer.library.startsWith(`${extended}.`)
        ? []
        : [
            finding({
              check: "citus-node",
              severity: "critical",
              subject: `node ${node}`,
              says: `the extension is of version ${answer.extension}, the library ${answer.library}: distributed tables cannot be used`,
              evidence: { extension: answer.extension, library: answer.library },
              fix: ["ALTER EXTENSION citus UPDATE;"],
              note: "on every node, the coordinator last",
            }),
          ]),
    ];
  });
}

interface Lack {
  readonly setting: string;
  readonly value: string;
  readonly severity: Finding["severity"];
  readonly why: string;
  lacks(setting: string, all: NodeAnswer["settings"]): boolean;
}

const has = (list: string, one: string): boolean => list.split(",").some((name) => name.trim() === one);

/** What Citus needs that PostgreSQL's defaults do not give. */
const LACKS: readonly Lack[] = [
  {
    setting: "max_prepared_transactions",
    value: "200",
    severity: "critical",
    why: "a write over several nodes fails: it is prepared on each before it is committed",
    lacks: (setting) => Number(setting) === 0,
  },
  {
    setting: "max_prepared_transactions",
    value: "",
    severity: "warning",
    why: "less than max_connections: with every connection in a write over several nodes, some of them fail",
    lacks: (setting, all) => Number(setting) > 0 && Number(setting) < Number(all["max_connections"] ?? 0),
  },
  {
    setting: "wal_level",
    value: "logical",
    severity: "warning",
    why: "shards cannot be moved while they are in use",
    lacks: (setting) => setting !== "logical",
  },
  {
    setting: "output_plugin_libraries",
    value: "pgoutput, test_decoding, citus",
    severity: "warning",
    why: "citus is not in it: shards cannot be split, a tenant cannot be isolated, nor a table distributed in use",
    lacks: (setting) => !has(setting, "citus"),
  },
];

const lacking = (rows: readonly Answered[], { stack }: Facts): Finding[] =>
  rows.flatMap(({ node, answer: { settings } }) =>
    LACKS.flatMap((lack) => {
      const setting = settings[lack.setting];
      if (setting === undefined || !lack.lacks(setting, settings)) return [];
      const value = lack.value === "" ? (settings["max_connections"] ?? "") : lack.value;
      return [
        finding({
          check: "citus-node",
          severity: lack.severity,
          subject: `${lack.setting} on ${node}`,
          says: `${setting}: ${lack.why}`,
          evidence: { setting, wanted: value, node },
          fix: stack
            ? [stack.command("config apply")]
            : [`ALTER SYSTEM SET ${lack.setting} = ${lack.setting.startsWith("max") ? value : literal(value)};`],
          note: stack ? null : `on ${node}; needs a restart, but for output_plugin_libraries`,
        }),
      ];
    }),
  );

/** Whether each node is there, of one version with the others, and set for what Citus does. */
export const citusNodeCheck: Check<CitusNodeRow> = {
  id: "citus-node",
  query: nodes,
  applies: isCitusCoordinator,
  judge(rows, facts) {
    const answered = rows.filter(isAnswered);
    return { findings: [...reachability(rows, facts), ...versions(answered, facts), ...lacking(answered, facts)] };
  },
};

/** Names that Citus gives: group, process, number of the transaction and of the connection. */
export const isCitusTransaction = (gid: string): boolean => /^citus_\d+_\d+_\d+_\d+$/.test(gid);

/** Says whether each was committed, and does the same on every node. */
export const RECOVER = "SELECT recover_prepared_transactions();";
export const RECOVER_NOTE =
  "on the coordinator, as a superuser; Citus does it each minute by itself (citus.recover_2pc_interval), so its log says why not. Rolled back by hand, a write may be on one node and not on another";

/** Writes over several nodes that were prepared on a worker, and neither committed nor rolled back. */
export const citusTransactionCheck: Check<CitusNodeRow> = {
  id: "citus-transaction",
  query: nodes,
  applies: isCitusCoordinator,
  judge: (rows, { thresholds }) => ({
    findings: rows.flatMap(({ node, group, answer }): Finding[] => {
      // The coordinator's own are told as long transactions.
      const left = (answer?.prepared ?? []).filter(
        ({ gid, seconds }) => group !== 0 && isCitusTransaction(gid) && seconds > thresholds.transactionSeconds,
      );
      const [oldest] = left;
      if (!oldest) return [];
      return [
        finding({
          check: "citus-transaction",
          severity: oldest.seconds > thresholds.transactionCriticalSeconds ? "critical" : "warning",
          subject: `node ${node}`,
          says: `${left.length === 1 ? "a write" : `${left.length} writes`} over several nodes prepared, and not ended for ${duration(oldest.seconds)}: locks stay, and vacuum removes nothing`,
          evidence: { transactions: left.map(({ gid }) => gid), oldestSeconds: Math.round(oldest.seconds) },
          fix: [RECOVER],
          note: RECOVER_NOTE,
        }),
      ];
    }),
  }),
};
