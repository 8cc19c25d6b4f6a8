/** What differs between a stack's state and what runs: findings, and how they are told. Pure. */

export type DriftKind =
  "container" | "network" | "volume" | "image" | "server" | "setting" | "cluster" | "access" | "role" | "extension";

/** One difference. */
export interface Finding {
  readonly kind: DriftKind;
  /** The server, service, or Docker object that it is on; `cluster` for what all servers share. */
  readonly where: string;
  readonly what: string;
  readonly expected: string;
  readonly found: string;
  /** The command that mends it. */
  readonly remedy: string;
}

/** Text as one word of a shell's command line. */
export const shellWord = (text: string): string =>
  /^[\w./:=@-]+$/.test(text) ? text : `"${text.replaceAll(/(["$`\\])/g, String.raw`\$1`)}"`;

/** Text as SQL. */
export const sqlLiteral = (text: string): string => `'${text.replaceAll("'", "''")}'`;
export const sqlName = (name: string): string =>
  /^[a-z_][a-z0-9_.]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;

/** Commands that mend, as a person would type them. */
export class Remedies {
  readonly #stack: string;

  /** `stack` as the commands take it; empty for the default one. */
  constructor(stack: string) {
    this.#stack = stack;
  }

  cgraph(command: string): string {
    return `./cgraph-db ${command}${this.#stack === "" ? "" : ` --stack ${this.#stack}`}`;
  }

  /** Statements on one server, each in a transaction of its own: ALTER SYSTEM takes no other. */
  sql(container: string, ...statements: readonly string[]): string {
    return this.sqlIn(container, undefined, ...statements);
  }

  sqlIn(container: string, database: string | undefined, ...statements: readonly string[]): string {
    const where = database === undefined ? "" : ` -d ${shellWord(database)}`;
    const parts = statements.map((statement) => ` -c ${shellWord(statement)}`);
    return `docker exec --user postgres ${container} psql${where}${parts.join("")}`;
  }

  /** Removes a container in order; `up` then finds it missing and makes it anew. */
  anew(container: string): string {
    return `docker stop --time 120 ${container} && docker rm ${container} && ${this.cgraph("up")}`;
  }
}

const text = (value: unknown): string =>
  value === undefined ? "nothing" : typeof value === "string" ? value : JSON.stringify(value);

/** Differences between two JSON values by path, `postgresql.parameters.work_mem`; lists as a whole, without what both have. */
export function jsonDifferences(
  expected: unknown,
  found: unknown,
  path = "",
): { readonly path: string; readonly expected: string; readonly found: string }[] {
  const isRecord = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (isRecord(expected) && isRecord(found)) {
    const keys = [...new Set([...Object.keys(expected), ...Object.keys(found)])];
    return keys.flatMap((key) => jsonDifferences(expected[key], found[key], path === "" ? key : `${path}.${key}`));
  }
  // A number and the same as text mean the same to Patroni.
  if (text(expected) === text(found)) return [];
  if (Array.isArray(expected) && Array.isArray(found)) {
    const [wanted, there] = [expected.map(text), found.map(text)];
    const missing = wanted.filter((one) => !there.includes(one));
    const added = there.filter((one) => !wanted.includes(one));
    const inOrder = missing.length + added.length === 0;
    return [
      {
        path,
        expected: inOrder ? wanted.join("; ") : missing.join("; ") || "nothing",
        found: inOrder ? there.join("; ") : added.join("; ") || "nothing",
      },
    ];
  }
  return [{ path, expected: text(expected), found: text(found) }];
}

const PARAMETERS = "postgresql.parameters.";

/** What somebody has changed in the cluster's configuration, which lies in etcd. */
export interface ClusterDrift {
  readonly findings: readonly Finding[];
  /** Values of changed PostgreSQL settings; undefined for a removed one. They explain differences on every server. */
  readonly parameters: ReadonlyMap<string, string | undefined>;
  readonly changesAccess: boolean;
}

/** Whom a cluster follows, of a stack in several regions: its agents say so, not the configuration. */
const withoutUpstream = (config: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(config).filter(([key]) => key !== "standby_cluster"));

/**
 * Compares the cluster's configuration, as Patroni tells it, with what was put there. `found` undefined: it does not tell.
 * `regional`: whether there are several regions.
 */
export function clusterDrift(
  expected: Readonly<Record<string, unknown>>,
  found: Readonly<Record<string, unknown>> | undefined,
  remedy: string,
  remedies: Remedies,
  regional = false,
): ClusterDrift {
  const cluster = { kind: "cluster", where: "cluster" } as const;
  if (!found) {
    const what = "Patroni's configuration";
    const silent = { ...cluster, what, expected: "told", found: "no answer", remedy: remedies.cgraph("status") };
    return { findings: [silent], parameters: new Map(), changesAccess: false };
  }
  const differences = regional
    ? jsonDifferences(withoutUpstream(expected), withoutUpstream(found))
    : jsonDifferences(expected, found);
  const parameters = (found["postgresql"] as { parameters?: Record<string, unknown> } | undefined)?.parameters ?? {};
  const changed = differences
    .filter(({ path }) => path.startsWith(PARAMETERS))
    .map(({ path }) => path.slice(PARAMETERS.length));
  return {
    findings: differences.map(({ path, ...values }) => ({ ...cluster, what: `Patroni's ${path}`, ...values, remedy })),
    parameters: new Map(
      changed.map((name) => [name, parameters[name] === undefined ? undefined : text(parameters[name])]),
    ),
    changesAccess: differences.some(({ path }) => path.startsWith("postgresql.pg_hba")),
  };
}
