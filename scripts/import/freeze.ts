/** Makes the source read only for its clients, and writable again. */
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Facts } from "../migrate/journal.ts";
import type { Progress } from "../migrate/runner.ts";
import type { Tools } from "./tools.ts";

const SETTING = "default_transaction_read_only";
/** How long to wait for a client's session to end. */
const PATIENCE_MS = 20_000;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Sessions of clients, ours left out; `since` is a comparison with the moment of the change. */
const sessions = (since: string): string => `pg_stat_activity WHERE datname = current_database()
  AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'cgraph-db import'
  AND backend_start ${since}::timestamptz`;

/** Ends sessions and waits until none of them is left. */
async function endSessions(tools: Tools, since: string): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const left = await tools.onSource(
      `SELECT count(pg_terminate_backend(pid)) FROM ${sessions(since)}; SELECT string_agg(DISTINCT usename, ', ') FROM ${sessions(since)}`,
    );
    const [count = "0", users = ""] = left.split("\n");
    if (count === "0") return;
    if (Date.now() > until) {
      throw new UserError(
        `sessions on the source do not end: of ${users}`,
        "end them, then ./cgraph-db import --resume",
        EXIT.failed,
      );
    }
    await sleep(50);
  }
}

/**
 * Makes the database read only: new sessions begin so, older ones are ended. Gives what has to be remembered to take it
 * back exactly; it is remembered before anything is changed.
 */
export async function freeze(tools: Tools, progress: Progress, before: Facts): Promise<Facts> {
  let facts = before;
  if (before["frozenAt"] === undefined) {
    const [prior = "", at = ""] = (
      await tools.onSource(`SELECT coalesce((SELECT split_part(c, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) c
          WHERE s.setdatabase = d.oid AND s.setrole = 0 AND c LIKE '${SETTING}=%'), '') FROM pg_database d WHERE datname = current_database();
        SELECT clock_timestamp()`)
    ).split("\n");
    facts = { prior, frozenAt: at };
    progress.remember(facts);
  }
  const now = await tools.onSource(
    `SELECT format('ALTER DATABASE %I SET ${SETTING} = on', current_database()) \\gexec\nSELECT clock_timestamp()`,
  );
  await endSessions(tools, `<= '${now.split("\n").at(-1) ?? ""}'`);
  const prepared = await tools.onSource("SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()");
  if (prepared !== "0") {
    throw new UserError(
      `the source has ${prepared} prepared transactions, which could be committed later`,
      "COMMIT PREPARED or ROLLBACK PREPARED them, then ./cgraph-db import --resume",
      EXIT.failed,
    );
  }
  return facts;
}

/** Gives the source its setting back, and ends the sessions that began read only: their pools make new ones. */
export async function thaw(tools: Tools, facts: Facts): Promise<void> {
  const { frozenAt, prior } = facts;
  if (typeof frozenAt !== "string" || typeof prior !== "string") return;
  const change = prior === "" ? `RESET ${SETTING}` : `SET ${SETTING} = ${prior}`;
  const now = await tools.onSource(
    `SELECT format('ALTER DATABASE %I ${change}', current_database()) \\gexec\nSELECT clock_timestamp()`,
  );
  await endSessions(tools, `BETWEEN '${frozenAt}' AND '${now.split("\n").at(-1) ?? ""}'`);
}
