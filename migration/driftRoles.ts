/** What somebody has changed of the roles, the database's defaults and its extensions. Pure. */
import { type DriftKind, type Finding, type Remedies, sqlLiteral, sqlName } from "./drift.ts";

/** A role as the program makes it (components/logins.ts). */
export interface WantedRole {
  readonly name: string;
  /** As in ALTER ROLE: `NOREPLICATION CONNECTION LIMIT 10`. */
  readonly attributes: string;
  readonly defaults: Readonly<Record<string, string>>;
  readonly memberOf: readonly string[];
}

/** A row of pg_authid. */
export interface RoleRow {
  readonly name: string;
  readonly super: boolean;
  readonly createdb: boolean;
  readonly createrole: boolean;
  readonly login: boolean;
  readonly replication: boolean;
  readonly bypassrls: boolean;
  readonly inherit: boolean;
  readonly limit: number;
  readonly validUntil: string | null;
  readonly verifier: string | null;
  readonly memberOf: readonly string[];
}

/** A row of pg_db_role_setting; empty names mean all. */
export interface DefaultsRow {
  readonly role: string;
  readonly database: string;
  /** `statement_timeout=30s`. */
  readonly settings: readonly string[];
}

export interface WantedRoles {
  readonly container: string;
  readonly roles: readonly WantedRole[];
  readonly database: string;
  readonly extensions: readonly string[];
  /** SCRAM verifiers by role, null for none; undefined where the passwords are not known. */
  readonly verifiers: Readonly<Record<string, string | null>> | undefined;
}

export interface RoleFacts {
  readonly roles: readonly RoleRow[];
  readonly defaults: readonly DefaultsRow[];
  /** Of the application's database; undefined where there is no such database. */
  readonly extensions: readonly string[] | undefined;
}

const ATTRIBUTES = [
  ["super", "SUPERUSER"],
  ["createdb", "CREATEDB"],
  ["createrole", "CREATEROLE"],
  ["login", "LOGIN"],
  ["replication", "REPLICATION"],
  ["bypassrls", "BYPASSRLS"],
  ["inherit", "INHERIT"],
] as const;

/** Whether a role has an attribute by the program: what it does not name is PostgreSQL's default. */
const wantsAttribute = ({ attributes }: WantedRole, word: string): boolean =>
  word === "LOGIN" || word === "INHERIT" || attributes.split(" ").includes(word);

const connectionLimit = ({ attributes }: WantedRole): number =>
  Number(/CONNECTION LIMIT (\d+)/.exec(attributes)?.[1] ?? -1);

interface Told {
  readonly where: string;
  readonly remedies: Remedies;
  readonly wanted: WantedRoles;
}

function roleDrift(role: WantedRole, row: RoleRow, { where, remedies, wanted }: Told): Finding[] {
  const finding = (what: string, expected: string, found: string, ...sql: string[]): Finding => ({
    kind: "role",
    where,
    what: `role ${role.name}${what}`,
    expected,
    found,
    remedy: remedies.sql(wanted.container, ...sql),
  });
  const alter = `ALTER ROLE ${sqlName(role.name)}`;
  const attributes = ATTRIBUTES.filter(([key, word]) => row[key] !== wantsAttribute(role, word)).map(([key, word]) => {
    const [has, hasNot] = [word, `NO${word}`];
    const expected = row[key] ? hasNot : has;
    return finding("", expected, row[key] ? has : hasNot, `${alter} ${expected}`);
  });
  const limit = connectionLimit(role);
  const { memberOf } = role;
  return [
    ...attributes,
    ...(row.limit === limit
      ? []
      : [finding("", `CONNECTION LIMIT ${limit}`, String(row.limit), `${alter} CONNECTION LIMIT ${limit}`)]),
    ...(row.validUntil === null || row.validUntil === "infinity"
      ? []
      : [finding("", "valid for ever", `VALID UNTIL ${row.validUntil}`, `${alter} VALID UNTIL 'infinity'`)]),
    ...memberOf
      .filter((group) => !row.memberOf.includes(group))
      .map((group) => finding("", `member of ${group}`, "not", `GRANT ${sqlName(group)} TO ${sqlName(role.name)}`)),
    ...row.memberOf
      .filter((group) => !memberOf.includes(group))
      .map((group) =>
        finding("", `not a member of ${group}`, "member", `REVOKE ${sqlName(group)} FROM ${sqlName(role.name)}`),
      ),
  ];
}

/** The defaults that ALTER ROLE … SET and ALTER DATABASE … SET give sessions. */
function defaultsDrift(wanted: WantedRoles, rows: readonly DefaultsRow[], { where, remedies }: Told): Finding[] {
  const expected = new Map<string, ReadonlyMap<string, string>>(
    wanted.roles.map(({ name, defaults }) => [JSON.stringify([name, ""]), new Map(Object.entries(defaults))]),
  );
  const found = new Map<string, ReadonlyMap<string, string>>(
    rows.map(({ role, database, settings }) => [
      JSON.stringify([role, database]),
      new Map(settings.map((one) => [one.slice(0, one.indexOf("=")), one.slice(one.indexOf("=") + 1)])),
    ]),
  );
  const managedRoles = new Set(["", "postgres", ...wanted.roles.map(({ name }) => name)]);
  const managedDatabases = new Set(["", "postgres", wanted.database]);
  return [...new Set([...expected.keys(), ...found.keys()])].flatMap((key) => {
    const [role, database] = JSON.parse(key) as [string, string];
    if (!managedRoles.has(role) || !managedDatabases.has(database)) return [];
    const [want, there] = [expected.get(key) ?? new Map<string, string>(), found.get(key) ?? new Map<string, string>()];
    const whom =
      role === "" ? (database === "" ? "ROLE ALL" : `DATABASE ${sqlName(database)}`) : `ROLE ${sqlName(role)}`;
    const within = role !== "" && database !== "" ? ` IN DATABASE ${sqlName(database)}` : "";
    const names = [...new Set([...want.keys(), ...there.keys()])].filter((name) => want.get(name) !== there.get(name));
    return names.map((name): Finding => {
      const value = want.get(name);
      const sql =
        value === undefined
          ? `ALTER ${whom}${within} RESET ${sqlName(name)}`
          : `ALTER ${whom}${within} SET ${sqlName(name)} = ${sqlLiteral(value)}`;
      return {
        kind: "role",
        where,
        what: `${whom.replace(/^[A-Z]+/, (word) => word.toLowerCase())}${within.toLowerCase()}: ${name}`,
        expected: value ?? "not set",
        found: there.get(name) ?? "not set",
        remedy: remedies.sql(wanted.container, sql),
      };
    });
  });
}

/** Compares roles, defaults and extensions with what the program makes. `where`: the server that was asked. */
export function rolesDrift(wanted: WantedRoles, facts: RoleFacts, where: string, remedies: Remedies): Finding[] {
  // What makes roles, database and extensions as they should be at every start.
  const bootstrap = `docker exec --user postgres ${wanted.container} cgraph-bootstrap`;
  const told: Told = { where, remedies, wanted };
  const missing = (kind: DriftKind, what: string): Finding => ({
    kind,
    where,
    what,
    expected: "there",
    found: "missing",
    remedy: bootstrap,
  });
  const rows = new Map(facts.roles.map((row) => [row.name, row]));
  const there = wanted.roles.filter(({ name }) => rows.has(name));
  return [
    ...wanted.roles.filter(({ name }) => !rows.has(name)).map(({ name }) => missing("role", `role ${name}`)),
    ...there.flatMap((role) => {
      const row = rows.get(role.name);
      return row ? roleDrift(role, row, told) : [];
    }),
    ...there
      .filter(({ name }) => wanted.verifiers && wanted.verifiers[name] !== rows.get(name)?.verifier)
      .map(({ name }): Finding => ({
        ...missing("role", `role ${name}: password`),
        expected: wanted.verifiers?.[name] === null ? "none" : "the stack's (env)",
        found: rows.get(name)?.verifier === null ? "none" : "another",
      })),
    ...defaultsDrift({ ...wanted, roles: there }, facts.defaults, told),
    ...(facts.extensions
      ? wanted.extensions
          .filter((name) => !facts.extensions?.includes(name))
          .map((name) => missing("extension", `extension ${name}`))
      : [missing("extension", `database ${wanted.database}`)]),
  ];
}
