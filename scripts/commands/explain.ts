import { readFileSync } from "node:fs";
import { text as textOf } from "node:stream/consumers";
import type { Client, QueryConfig, QueryResult } from "pg";
import { ROLE_NAMES, type RoleName } from "../../components/roles.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { HARMLESS, type Written, calledNames, statementOf, writesOf } from "../inspect/explain.ts";
import { rowsAsJson } from "../inspect/sql.ts";
import { valueOf, withDatabase } from "../lib/databaseClient.ts";
import { print, printJson } from "../lib/print.ts";
import { note } from "../lib/progress.ts";

export interface ExplainFlags {
  readonly stack: string;
  readonly url?: string;
  readonly role: string;
  readonly write?: boolean;
  readonly timeout: string;
  readonly json?: boolean;
}

const APPLICATION = "cgraph-db explain";
const LOCK_SECONDS = 2;

/** By the extended protocol, which takes one statement and no more: nothing after a semicolon can end our transaction. */
const one = (client: Client, text: string): Promise<QueryResult<Record<string, unknown>>> =>
  client.query({ text, queryMode: "extended" } as QueryConfig);

async function read(file: string): Promise<string> {
  if (file === "-") return textOf(process.stdin);
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UserError(
      `${file} cannot be read: ${(error as Error).message}`,
      "give a file with one statement, or - for standard input",
    );
  }
}

interface Failure {
  readonly code?: string;
  readonly message: string;
  readonly hint?: string;
}

const writes = (what: string): UserError =>
  new UserError(
    `it writes: ${what}`,
    "--write runs it all the same, and rolls it back; docs/inspect.md says what a rollback does not undo",
    EXIT.refused,
  );

function explainFailure(error: unknown, seconds: number): unknown {
  const { code, message, hint } = error as Failure;
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) return error;
  if (code === "25006") return writes(message);
  if (code === "57014") {
    return new UserError(
      `it took longer than ${seconds} s and was cancelled`,
      "--timeout SECONDS gives it more",
      EXIT.failed,
    );
  }
  if (code === "55P03") {
    return new UserError("what it needs is locked by others", "./cgraph-db inspect locks says by whom", EXIT.failed);
  }
  if (code === "42P02") return new UserError(message, "put a value in the place of each parameter");
  if (code === "42601") return new UserError(message, "give one SELECT, INSERT, UPDATE, DELETE, MERGE or VALUES");
  return new UserError(message, hint ?? "mend the statement, or the rights of the role", EXIT.failed);
}

/** What a rollback does not undo, told before the statement runs. */
async function warn(client: Client, statement: string, written: readonly Written[]): Promise<string[]> {
  const functions = await valueOf<{ name: string }[]>(
    client,
    `SELECT ${rowsAsJson(`SELECT DISTINCT proname AS name FROM pg_proc WHERE proname = ANY ($1::text[]) AND provolatile = 'v'
       AND prokind = 'f' AND NOT proname = ANY ($2::text[]) ORDER BY 1`)} AS value`,
    [calledNames(statement), HARMLESS],
  );
  const triggers = await valueOf<{ name: string }[]>(
    client,
    `SELECT ${rowsAsJson(`SELECT DISTINCT t.tgname || ' of ' || t.tgrelid::regclass AS name FROM pg_trigger t
       JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname || '.' || c.relname = ANY ($1::text[]) ORDER BY 1`)} AS value`,
    [written.map(({ table }) => table)],
  );
  const names = (list: readonly { name: string }[]): string => list.map(({ name }) => name).join(", ");
  return [
    ...written.map(
      ({ operation, table }) =>
        `${operation} of ${table} is rolled back; its rows stay as dead ones until VACUUM, its locks are held meanwhile, sequences go on, WAL is written`,
    ),
    ...(functions.length > 0
      ? [`it calls ${names(functions)}: what a function does outside of this transaction is not rolled back`]
      : []),
    ...(triggers.length > 0
      ? [`triggers fire: ${names(triggers)}; what they do outside of this transaction is not rolled back`]
      : []),
  ];
}

function checkRole(name: string): RoleName {
  const role = ROLE_NAMES.find((one) => one === name);
  if (role) return role;
  throw new UserError(`there is no role ${name}`, `use one of ${ROLE_NAMES.join(", ")}`);
}

/** `explain`: EXPLAIN (ANALYZE, BUFFERS) of one statement, in a transaction that is rolled back. */
export async function explain(file: string, flags: ExplainFlags): Promise<void> {
  const seconds = Number(flags.timeout);
  if (!(Number.isInteger(seconds) && seconds > 0)) {
    throw new UserError(`--timeout is "${flags.timeout}"`, "give whole seconds above 0");
  }
  const role = checkRole(flags.role);
  const statement = statementOf(await read(file));
  const place = { stack: flags.stack, role, ...(flags.url === undefined ? {} : { url: flags.url }) };
  await withDatabase(place, APPLICATION, async (client) => {
    try {
      await client.query(`BEGIN ${flags.write ? "READ WRITE" : "READ ONLY"}; SET LOCAL statement_timeout = '${seconds}s';
        SET LOCAL lock_timeout = '${LOCK_SECONDS}s'`);
      const { rows: planned } = await one(client, `EXPLAIN (VERBOSE, FORMAT JSON) ${statement}`);
      const written = writesOf((planned[0]?.["QUERY PLAN"] ?? []) as Parameters<typeof writesOf>[0]);
      const [first] = written;
      if (first && !flags.write) throw writes(`${first.operation} of ${first.table}`);
      const warnings = await warn(client, statement, written);
      for (const warning of warnings) note(`  note: ${warning}`);
      const options = `ANALYZE, BUFFERS, SETTINGS${flags.write ? ", WAL" : ""}`;
      const { rows } = await one(client, `EXPLAIN (${options}, FORMAT ${flags.json ? "JSON" : "TEXT"}) ${statement}`);
      if (flags.json)
        printJson({ role: flags.url === undefined ? role : null, statement, warnings, plan: rows[0]?.["QUERY PLAN"] });
      else print(rows.map((row) => String(row["QUERY PLAN"])).join("\n"));
    } catch (error) {
      throw error instanceof UserError ? error : explainFailure(error, seconds);
    } finally {
      await client.query("ROLLBACK").catch(() => undefined);
    }
  });
}
