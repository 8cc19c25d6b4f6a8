/** While a move is under way nobody changes the schema, and pg_partman waits. */
import { DATABASE } from "../../components/roles.ts";
import { superuserSql } from "../lib/cluster.ts";

const TRIGGERS = ["cgraph_move_ddl", "cgraph_move_drop"] as const;

/** Temporary tables are the application's own affair; the move's own changes, and the superuser's, go through. */
const FREEZE = `
CREATE SCHEMA IF NOT EXISTS cgraph_move;
CREATE OR REPLACE FUNCTION cgraph_move.refuse() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF session_user = 'postgres' OR current_setting('application_name') LIKE 'cgraph-db%' THEN RETURN; END IF;
  IF tg_event = 'sql_drop' THEN
    IF NOT EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary AND schema_name !~ '^pg_temp') THEN
      RETURN;
    END IF;
  ELSIF NOT EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE coalesce(schema_name, '') !~ '^pg_temp') THEN
    RETURN;
  END IF;
  RAISE EXCEPTION 'a move of this database to another stage is under way: no changes of the schema until it ends'
    USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Try again when ./cgraph-db migrate has ended.';
END $$;
DO $do$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = '${TRIGGERS[0]}') THEN
    CREATE EVENT TRIGGER ${TRIGGERS[0]} ON ddl_command_end EXECUTE FUNCTION cgraph_move.refuse();
  END IF;
  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = '${TRIGGERS[1]}') THEN
    CREATE EVENT TRIGGER ${TRIGGERS[1]} ON sql_drop EXECUTE FUNCTION cgraph_move.refuse();
  END IF;
END $do$;
`;

const THAW = `
${TRIGGERS.map((name) => `DROP EVENT TRIGGER IF EXISTS ${name};`).join("\n")}
DROP SCHEMA IF EXISTS cgraph_move CASCADE;
`;

/** Whether there is pg_cron. */
const hasCron = async (container: string): Promise<boolean> =>
  (await superuserSql(container, "SELECT to_regclass('cron.job') IS NOT NULL", DATABASE)) === "t";

/** Our jobs that are active: pg_partman's work hangs on them. */
export async function activeJobs(container: string): Promise<number[]> {
  if (!(await hasCron(container))) return [];
  const rows = await superuserSql(
    container,
    "SELECT coalesce(json_agg(jobid), '[]') FROM cron.job WHERE active AND jobname LIKE 'cgraph%'",
    DATABASE,
  );
  return JSON.parse(rows) as number[];
}

const setActive = async (container: string, jobs: readonly number[], active: boolean): Promise<void> => {
  if (jobs.length === 0 || !(await hasCron(container))) return;
  const loaded = await superuserSql(container, "SELECT current_setting('shared_preload_libraries') ~ 'pg_cron'");
  // Where it is not loaded (stage 1) its trigger cannot run: the job is marked all the same, for the next stage.
  const silently = loaded === "t" ? "" : "SET session_replication_role = replica; ";
  const mark = `UPDATE cron.job SET active = ${active} WHERE jobid IN (${jobs.join(", ")})`;
  await superuserSql(container, silently + mark, DATABASE);
};

/** Freezes, and has these jobs wait; can be repeated. */
export async function freeze(container: string, jobs: readonly number[]): Promise<void> {
  await superuserSql(container, FREEZE, DATABASE);
  await setActive(container, jobs, false);
}

/** Lets go; can be repeated. */
export async function thaw(container: string, jobs: readonly number[]): Promise<void> {
  await superuserSql(container, THAW, DATABASE);
  await setActive(container, jobs, true);
}
