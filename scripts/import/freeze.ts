/** Makes the source read only for its clients, and writable again. */
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Facts } from "../migrate/journal.ts";
import type { Progress } from "../migrate/runner.ts";
import type { Tools } from "./tools.ts";

const SETTING = "default_transaction_read_only";
/** How long to wait for a client's session to end. */
const PATIENCE_MS = 20_000;

/** Sessions of clients, ours left out; `since` is a comparison with the moment of the change. */
const sessions = (since: string): string => `pg_stat_activity WHERE datname = current_database()
  AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'cgraph-db import'
  AND backend_start ${since}`;

const PREPARED = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";

/**
 * Changes the database's setting, ends the sessions that began with the other one, and waits until none of them is left.
 * All in one call: while the source is read only, clients wait.
 */
async function change(tools: Tools, setting: string, since: (now: string) => string): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  const moment = "SELECT clock_timestamp() AS now \\gset\n";
  const end = `SELECT count(pg_terminate_backend(pid)) FROM ${sessions(since(":'now'"))};
    SELECT pg_sleep(0.05) WHERE EXISTS (SELECT FROM ${sessions(since(":'now'"))}) \\g /dev/null
    SELECT count(*), coalesce(string_agg(DISTINCT usename, ', '), '') FROM ${sessions(since(":'now'"))};
    ${PREPARED};`;
  for (let alter = `SELECT format('ALTER DATABASE %I ${setting}', current_database()) \\gexec\n`; ; alter = "") {
    const lines = (await tools.onSource(`${alter}${moment}${end}`)).split("\n");
    const [left = "", prepared = "0"] = lines.slice(-2);
    const [count, users] = left.split("|");
    if (count === "0" && prepared === "0") return;
    if (Date.now() < until && prepared === "0") continue;
    throw new UserError(
      prepared === "0"
        ? `sessions on the source do not end: of ${users}`
        : `the source has ${prepared} prepared transactions, which could be committed later`,
      prepared === "0"
        ? "end them, then ./cgraph-db import --resume"
        : "COMMIT PREPARED or ROLLBACK PREPARED them, then ./cgraph-db import --resume",
      EXIT.failed,
    );
  }
}

/**
 * Makes the database read only: new sessions begin so, older ones are ended. Gives what has to be remembered to take it
 * back exactly; it is remembered before anything is changed.
 */
export async function freeze(tools: Tools, progress: Progress, before: Facts): Promise<Facts> {
  let facts = before;
  if (before["frozenAt"] === undefined) {
    const { prior, at } = JSON.parse(
      await tools.onSource(`SELECT json_build_object('at', clock_timestamp(), 'prior', coalesce((SELECT split_part(c, '=', 2)
        FROM pg_db_role_setting s, unnest(s.setconfig) c
        WHERE s.setdatabase = d.oid AND s.setrole = 0 AND c LIKE '${SETTING}=%'), ''))
        FROM pg_database d WHERE datname = current_database()`),
    ) as { prior: string; at: string };
    facts = { prior, frozenAt: at };
    progress.remember(facts);
  }
  await change(tools, `SET ${SETTING} = on`, (now) => `<= ${now}`);
  return facts;
}

/** Gives the source its setting back, and ends the sessions that began read only: their pools make new ones. */
export async function thaw(tools: Tools, facts: Facts): Promise<void> {
  const { frozenAt, prior } = facts;
  if (typeof frozenAt !== "string" || typeof prior !== "string") return;
  const setting = prior === "" ? `RESET ${SETTING}` : `SET ${SETTING} = ${prior}`;
  await change(tools, setting, (now) => `BETWEEN '${frozenAt}' AND ${now}`);
}
