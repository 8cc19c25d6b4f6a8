/**
 * The SQL that turns a table of messages into one partitioned by month while it is in use. Pure text; run.ts runs it.
 *
 * Changes are captured by a trigger before old rows are copied, so every row is either copied or captured, or both, in
 * which case the captured one stays. A row that is deleted while it is being copied leaves a tombstone.
 */

/** The table that is converted: its key, and the column whose months are its partitions. */
export interface PartitionedTable {
  readonly name: string;
  readonly key: readonly [string, string];
  readonly control: string;
}

export const MESSAGES: PartitionedTable = { name: "messages", key: ["id", "inserted_at"], control: "inserted_at" };

export const SCHEMA = "cgraph_partitions";
/** Suffix of the new table and its indexes until the swap, and of the old ones after it. */
const NEW = "_partitioned";
const OLD = "_unpartitioned";

export const newName = (table: PartitionedTable): string => `${table.name}${NEW}`;
export const oldName = (table: PartitionedTable): string => `${table.name}${OLD}`;
const tombstones = (table: PartitionedTable): string => `${SCHEMA}.${table.name}_deleted`;
const capture = (table: PartitionedTable): string => `${SCHEMA}.capture_${table.name}`;

/** Journal: one row a conversion, with what is done of it. */
export const JOURNAL_SQL = `
CREATE SCHEMA IF NOT EXISTS ${SCHEMA};
CREATE TABLE IF NOT EXISTS ${SCHEMA}.journal (
  table_name text PRIMARY KEY,
  phase text NOT NULL,
  next_page bigint NOT NULL DEFAULT 0,
  end_page bigint NOT NULL DEFAULT 0,
  copied bigint NOT NULL DEFAULT 0,
  copy_seconds double precision NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);`;

/** Name of a month's partition, as pg_partman names it. */
export const partitionName = (table: PartitionedTable, month: Date): string =>
  `${table.name}_p${month.toISOString().slice(0, 10).replaceAll("-", "")}`;

const day = (month: Date): string => month.toISOString().slice(0, 10);
const nextMonth = (month: Date): Date => new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1, 1));

/** Every month from the first to the last, both included. */
export function monthsBetween(first: Date, last: Date): Date[] {
  const months: Date[] = [];
  for (
    let month = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth(), 1));
    month <= last;
    month = nextMonth(month)
  ) {
    months.push(month);
  }
  return months;
}

/** The new table with its partitions; empty, and with its key only: other indexes come when the rows are there. */
export function createSql(table: PartitionedTable, months: readonly Date[]): string {
  const name = newName(table);
  const leaves = months.map(
    (month) =>
      `CREATE TABLE IF NOT EXISTS ${partitionName(table, month)} PARTITION OF ${name} FOR VALUES FROM ('${day(month)}') TO ('${day(nextMonth(month))}');`,
  );
  return `
CREATE TABLE IF NOT EXISTS ${name} (LIKE ${table.name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMMENTS INCLUDING GENERATED)
  PARTITION BY RANGE (${table.control});
ALTER TABLE ${name} ADD CONSTRAINT ${name}_pkey PRIMARY KEY (${table.key.join(", ")});
${leaves.join("\n")}
CREATE TABLE IF NOT EXISTS ${table.name}_default PARTITION OF ${name} DEFAULT;
CREATE TABLE IF NOT EXISTS ${tombstones(table)} AS SELECT ${table.key.join(", ")} FROM ${table.name} WHERE false;`;
}

/** The trigger that repeats every change on the new table, in the same transaction. Waits for writers: briefly. */
export function captureSql(table: PartitionedTable, columns: readonly string[]): string {
  const name = newName(table);
  const same = (row: string): string => table.key.map((column) => `${column} = ${row}.${column}`).join(" AND ");
  const others = columns.filter((column) => !table.key.includes(column));
  return `
CREATE OR REPLACE FUNCTION ${capture(table)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND (${table.key.map((column) => `OLD.${column} IS DISTINCT FROM NEW.${column}`).join(" OR ")}) THEN
    DELETE FROM ${name} WHERE ${same("OLD")};
    INSERT INTO ${tombstones(table)} VALUES (${table.key.map((column) => `OLD.${column}`).join(", ")});
    IF TG_OP = 'DELETE' THEN RETURN NULL; END IF;
  END IF;
  INSERT INTO ${name} (${columns.join(", ")}) VALUES (${columns.map((column) => `NEW.${column}`).join(", ")})
  ON CONFLICT (${table.key.join(", ")}) DO UPDATE SET ${others.map((column) => `${column} = excluded.${column}`).join(", ")};
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS cgraph_capture ON ${table.name};
CREATE TRIGGER cgraph_capture AFTER INSERT OR UPDATE OR DELETE ON ${table.name}
  FOR EACH ROW EXECUTE FUNCTION ${capture(table)}();`;
}

/** Copies the rows of the old table's pages [$1, $2). */
export function copySql(table: PartitionedTable, columns: readonly string[]): string {
  const list = columns.join(", ");
  return `
INSERT INTO ${newName(table)} (${list})
SELECT ${list} FROM ${table.name} WHERE ctid >= format('(%s,0)', $1::bigint)::tid AND ctid < format('(%s,0)', $2::bigint)::tid
ON CONFLICT DO NOTHING`;
}

/** Removes rows that were deleted while they were being copied. */
export const applyTombstonesSql = (table: PartitionedTable): string => `
DELETE FROM ${newName(table)} n USING ${tombstones(table)} t
WHERE ${table.key.map((column) => `n.${column} = t.${column}`).join(" AND ")}
  AND NOT EXISTS (SELECT FROM ${table.name} o WHERE ${table.key.map((column) => `o.${column} = t.${column}`).join(" AND ")})`;

/** Rows and a checksum over their contents, whatever their order. */
export const checksumSql = (name: string, columns: readonly string[]): string =>
  `SELECT count(*) AS rows, coalesce(sum(hashtextextended(ROW(${columns.join(", ")})::text, 0)::numeric), 0) AS checksum FROM ${name}`;

/** An index of the old table, as pg_get_indexdef writes it, made for another one. */
export function indexFor(definition: string, indexName: string, tableName: string, concurrently: boolean): string {
  const match = /^CREATE (UNIQUE )?INDEX \S+ ON (?:ONLY )?\S+ (USING .*)$/s.exec(definition);
  if (!match) throw new Error(`not an index definition: ${definition}`);
  const how = concurrently ? "CONCURRENTLY IF NOT EXISTS " : "IF NOT EXISTS ";
  return `CREATE ${match[1] ?? ""}INDEX ${how}${indexName} ON ${concurrently ? "" : "ONLY "}${tableName} ${match[2]}`;
}

export interface ForeignKey {
  readonly name: string;
  /** As pg_get_constraintdef writes it. */
  readonly definition: string;
}

export interface Publication {
  readonly name: string;
  /** Columns that it publishes of the table; null: all. */
  readonly columns: string | null;
}

/** The swap: in one short transaction the new table takes the old one's name, its indexes theirs. */
export function swapSql(
  table: PartitionedTable,
  indexes: readonly string[],
  referencing: readonly { readonly table: string; readonly name: string }[],
  publications: readonly Publication[],
): string {
  const [fresh, old] = [newName(table), oldName(table)];
  return `
LOCK TABLE ${table.name}, ${fresh}${referencing.map((key) => `, ${key.table}`).join("")} IN ACCESS EXCLUSIVE MODE;
${applyTombstonesSql(table)};
DROP TRIGGER cgraph_capture ON ${table.name};
${referencing
  .map(
    (key) => `ALTER TABLE ${key.table} DROP CONSTRAINT ${key.name};
ALTER TABLE ${key.table} RENAME CONSTRAINT ${key.name}${NEW} TO ${key.name};`,
  )
  .join("\n")}
ALTER TABLE ${table.name} RENAME TO ${old};
ALTER TABLE ${fresh} RENAME TO ${table.name};
ALTER INDEX ${table.name}_pkey RENAME TO ${old}_pkey;
ALTER INDEX ${fresh}_pkey RENAME TO ${table.name}_pkey;
${indexes.map((index) => `ALTER INDEX ${index} RENAME TO ${index}${OLD}; ALTER INDEX ${index}${NEW} RENAME TO ${index};`).join("\n")}
${publications
  .map(
    ({ name, columns }) =>
      `ALTER PUBLICATION ${name} DROP TABLE ${old}; ALTER PUBLICATION ${name} ADD TABLE ${table.name}${columns === null ? "" : ` (${columns})`};`,
  )
  .join("\n")}
UPDATE ${SCHEMA}.journal SET phase = 'swapped' WHERE table_name = '${table.name}';`;
}

/** Name of an index on the new table until the swap. */
export const newIndexName = (index: string): string => `${index}${NEW}`;
export const newConstraintName = (constraint: string): string => `${constraint}${NEW}`;
