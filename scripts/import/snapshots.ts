/** Moments at which a side can be read however it goes on: snapshots that a session in the import's container keeps. */
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Tools, WORK } from "./tools.ts";

/** SQL that reads at a snapshot; as it is now, where there is none. */
export const at = (snapshot: string | undefined, sql: string): string =>
  snapshot === undefined
    ? sql
    : `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '${snapshot}';\n${sql};\nCOMMIT;`;

/** Whether a snapshot's session still lives. `ask` runs SQL on its side. */
export async function isKept(ask: (sql: string) => Promise<string>, snapshot: string): Promise<boolean> {
  try {
    await ask(at(snapshot, "SELECT 1"));
    return true;
  } catch (error) {
    // "invalid snapshot identifier", since PostgreSQL 17 "snapshot … does not exist".
    if (error instanceof UserError && error.message.includes("snapshot")) return false;
    throw error;
  }
}

/**
 * Keeps the target's snapshot of this moment, and gives its id. In one call of the container, since clients wait for it.
 * It lives until the container ends, and outlives this process.
 */
export async function keepTarget(tools: Tools): Promise<string> {
  // A name of its own: the session of an interrupted call may still be there.
  const job = `served-${Date.now()}`;
  const id = `${WORK}/${job}.id`;
  const sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot();";
  const { stdout } =
    await tools.shell(`cgraph-copy job ${job} cgraph-copy snapshot ${job} "$PGCOPYDB_TARGET_PGURI" "${sql}" >/dev/null 2>&1 </dev/null &
    tries=0; until [ -s ${id} ] || [ $tries -ge 500 ]; do sleep 0.02; tries=$((tries + 1)); done; cat ${id}`);
  const snapshot = stdout.trim();
  if (snapshot === "") {
    throw new UserError(
      `the stack's server keeps no snapshot: ${(await tools.exec("cat", `${WORK}/${job}.log`)).stdout.trim()}`,
      "see ./cgraph-db status, then ./cgraph-db import --resume",
      EXIT.failed,
    );
  }
  return snapshot;
}
