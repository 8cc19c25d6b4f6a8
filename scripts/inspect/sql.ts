/** What the queries of `inspect` share. They hold for PostgreSQL 14 to 17, and ask no more than pg_monitor may see. */

/** Rows as one JSON array: numbers come as numbers, times as ISO text. */
export const rowsAsJson = (select: string): string =>
  `(SELECT coalesce(json_agg(row_to_json(t)), '[]') FROM (${select}) t)`;

/** Schemas of the application: not PostgreSQL's own, nor a session's temporary one. `n` is a row of pg_namespace. */
export const OWN_SCHEMAS = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;

/** Seconds since a time; null where there is none. */
export const secondsSince = (time: string): string =>
  `round(extract(epoch FROM clock_timestamp() - ${time})::numeric, 1)::float8`;

/** A name as SQL needs it. */
export const qualified = (schema: string, name: string): string =>
  `quote_ident(${schema}) || '.' || quote_ident(${name})`;

/** On one line and no longer than that: queries in a table. */
export function clip(text: string, width = 80): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > width ? `${line.slice(0, width - 1)}…` : line;
}

export const percent = (share: number | null): string => (share === null ? "" : `${(share * 100).toFixed(1)} %`);
export const count = (value: number | null): string => (value === null ? "" : String(Math.round(value)));
