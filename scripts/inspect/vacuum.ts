/** What `vacuum` asks of the database before, meanwhile and afterwards. */
import type { Client } from "pg";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { valueOf } from "../lib/databaseClient.ts";
import { qualified, rowsAsJson } from "./sql.ts";

export interface VacuumTarget {
  /** Quoted, with its schema. */
  readonly name: string;
  /** The tables that hold its rows, by their number in the catalogue: itself, or its partitions. */
  readonly parts: Readonly<Record<string, string>>;
}

interface Found {
  readonly name: string;
  readonly kind: string;
  readonly parts: Readonly<Record<string, string>>;
}

const NAME = qualified("n.nspname", "c.relname");
const FIND_SQL = `SELECT (SELECT json_build_object('name', ${NAME}, 'kind', c.relkind,
    'parts', (SELECT coalesce(json_object_agg(p.oid, ${qualified("pn.nspname", "p.relname")}), '{}')
      FROM pg_class p JOIN pg_namespace pn ON pn.oid = p.relnamespace
      WHERE p.relkind IN ('r', 'm') AND (p.oid = c.oid OR p.oid IN (SELECT relid FROM pg_partition_tree(c.oid)))))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid = coalesce(to_regclass($1), to_regclass(quote_ident($1)))) AS value`;

/** Finds a table as SQL would, or by its name as it stands. Throws a UserError where there is none. */
export async function findTable(client: Client, text: string): Promise<VacuumTarget> {
  // What is no name at all is an error to to_regclass.
  const found = await valueOf<Found | null>(client, FIND_SQL, [text]).catch((error: unknown) => {
    if (["42602", "42601"].includes((error as { code?: string }).code ?? "")) return null;
    throw error;
  });
  if (!found) {
    throw new UserError(`there is no table ${text}`, "./cgraph-db inspect tables lists them, with their schemas");
  }
  if (!["r", "m", "p"].includes(found.kind)) {
    throw new UserError(`${found.name} is no table`, "./cgraph-db inspect tables lists what can be vacuumed");
  }
  return found;
}

export interface VacuumFigures {
  readonly bytes: number;
  readonly deadRows: number;
  /** Of the part that has waited longest. */
  readonly frozenAge: number;
}

export const readFigures = (client: Client, { parts }: VacuumTarget): Promise<VacuumFigures> =>
  valueOf(
    client,
    `SELECT json_build_object('bytes', coalesce(sum(pg_total_relation_size(c.oid)), 0),
       'deadRows', coalesce(sum(pg_stat_get_dead_tuples(c.oid)), 0), 'frozenAge', coalesce(max(age(c.relfrozenxid)), 0)) AS value
     FROM pg_class c WHERE c.oid = ANY ($1::oid[])`,
    [Object.keys(parts)],
  );

/** Where a VACUUM is: one table at a time. */
export interface VacuumProgress {
  readonly part: string;
  readonly phase: string;
  /** Of this phase; null where PostgreSQL does not tell. */
  readonly share: number | null;
}

const PROGRESS_SQL = `SELECT ${rowsAsJson(`SELECT relid::text AS part, phase,
    CASE phase WHEN 'scanning heap' THEN heap_blks_scanned / nullif(heap_blks_total, 0)::float8
      WHEN 'vacuuming heap' THEN heap_blks_vacuumed / nullif(heap_blks_total, 0)::float8 END AS share
  FROM pg_stat_progress_vacuum WHERE relid = ANY ($1::oid[]) AND phase IS NOT NULL
  UNION ALL SELECT relid::text, 'analysing: ' || phase, sample_blks_scanned / nullif(sample_blks_total, 0)::float8
  FROM pg_stat_progress_analyze WHERE relid = ANY ($1::oid[]) AND phase IS NOT NULL`)} AS value`;

export async function readProgress(client: Client, { parts }: VacuumTarget): Promise<VacuumProgress | undefined> {
  const [row] = await valueOf<VacuumProgress[]>(client, PROGRESS_SQL, [Object.keys(parts)]);
  return row && { ...row, part: parts[row.part] ?? row.part };
}

/** VACUUM passes over what the user may not vacuum, with a warning and no error. */
export function refuseSkipped(warnings: readonly string[]): void {
  const skipped = warnings.filter((warning) => /skipping it/.test(warning));
  if (skipped.length === 0) return;
  throw new UserError(
    skipped.join("; "),
    "VACUUM is for a table's owner, the database's owner and, from PostgreSQL 17 on, whoever has MAINTAIN",
    EXIT.failed,
  );
}
