/** What must be well before a move begins. Read-only. */
import { DATABASE } from "../../components/roles.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { currentPrimary, settle, superuserSql } from "../lib/cluster.ts";
import { run } from "../lib/run.ts";
import { bytes } from "../lib/print.ts";

/** Transactions open for longer than this would make a pause long, or a step wait. */
const LONG_TRANSACTION_SECONDS = 60;
/** Room for replicas beside their data: WAL while they are copied. */
const ROOM_FACTOR = 1.3;

const refused = (what: string, remedy: string): UserError => new UserError(what, remedy, EXIT.refused);

async function checkTransactions(container: string): Promise<void> {
  const found = await superuserSql(
    container,
    `SELECT format('process %s of %s (%s), %s s', pid, usename, coalesce(nullif(application_name, ''), 'no name'),
       round(extract(epoch FROM now() - xact_start))) FROM pg_stat_activity
     WHERE xact_start < now() - interval '${LONG_TRANSACTION_SECONDS} s' AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1`,
  );
  if (found !== "") {
    throw refused(`a transaction has been open for long: ${found}`, "wait for it, or end it (pg_terminate_backend)");
  }
  const prepared = await superuserSql(container, "SELECT count(*) FROM pg_prepared_xacts");
  if (prepared !== "0") throw refused(`${prepared} prepared transactions are open`, "commit them or roll them back");
}

export interface Space {
  readonly databaseBytes: number;
  readonly freeBytes: number;
}

/** The database's size, and the room on Docker's disk. */
export async function spaceOf(container: string): Promise<Space> {
  const size = await superuserSql(container, "SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datallowconn");
  const { stdout } = await run("docker", ["exec", container, "df", "-B1", "--output=avail", "/var/lib/postgresql"]);
  return { databaseBytes: Number(size), freeBytes: Number(stdout.trim().split("\n").at(-1)) };
}

/** A fingerprint of everything but the messages' tables, which a move may partition. */
export const schemaFingerprint = (container: string): Promise<string> =>
  superuserSql(
    container,
    `SELECT md5(coalesce(string_agg(format('%s %s %s %s', c.relname, a.attname, a.atttypid::regtype, a.attnotnull), ',' ORDER BY c.relname, a.attnum), ''))
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname !~ '^(messages|reactions)'`,
    DATABASE,
  );

export const systemIdentifier = (container: string): Promise<string> =>
  superuserSql(container, "SELECT system_identifier FROM pg_control_system()");

/**
 * Checks that nothing stands in the way, and gives what `verify` compares with. `copies`: how often the database is to be
 * copied, and for what.
 */
export async function checkMove(
  values: StackValues,
  copies: { readonly count: number; readonly what: string },
): Promise<Record<string, unknown>> {
  // One that comes back from a switchover a moment ago is waited for.
  await settle(values);
  const { container } = await currentPrimary(values);
  await checkTransactions(container);
  const { databaseBytes, freeBytes } = await spaceOf(container);
  const needed = databaseBytes * copies.count * ROOM_FACTOR;
  if (needed > freeBytes) {
    throw refused(
      `${copies.what} need ${bytes(needed)}; Docker's disk has ${bytes(freeBytes)} left`,
      "make room (docker system df, ./cgraph-db prune), then call this again",
    );
  }
  return {
    databaseBytes,
    systemIdentifier: await systemIdentifier(container),
    schema: await schemaFingerprint(container),
  };
}

/** Compares with what the checks found before, and looks that nothing is left over. */
export async function verifyMove(values: StackValues, before: Readonly<Record<string, unknown>>): Promise<void> {
  // Replicas notice a moment later that the primary has restarted.
  await settle(values);
  const { container } = await currentPrimary(values);
  const wrong = (what: string): UserError =>
    new UserError(what, "take the move back: ./cgraph-db migrate --rollback", EXIT.failed);
  if ((await systemIdentifier(container)) !== before["systemIdentifier"]) {
    throw wrong("the server that takes writes is not the database from before");
  }
  if ((await schemaFingerprint(container)) !== before["schema"]) {
    throw wrong("tables are not what they were before the move");
  }
  const invalid = await superuserSql(
    container,
    "SELECT string_agg(indexrelid::regclass::text, ', ') FROM pg_index WHERE NOT indisvalid",
    DATABASE,
  );
  if (invalid !== "") throw wrong(`indexes are not valid: ${invalid}`);
}
