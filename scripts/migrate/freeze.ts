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

/** Jobs that pg_partman's work hangs on, where there is pg_cron. */
const jobs = (container: string): Promise<string> =>
  superuserSql(container, `SELECT coalesce(to_regclass('cron.job')::text, '')`, DATABASE);

export interface Frozen {
  /** Jobs that were active before, and wait now. */
  readonly jobs: readonly number[];
}

/** Freezes; can be repeated. `before`: jobs that an earlier try has stopped. */
export async function freeze(container: string, before: readonly number[]): Promise<Frozen> {
  await superuserSql(container, FREEZE, DATABASE);
  if ((await jobs(container)) === "") return { jobs: [] };
  const stopped = await superuserSql(
    container,
    `WITH stopped AS (UPDATE cron.job SET active = false WHERE active AND jobname LIKE 'cgraph%' RETURNING jobid)
     SELECT coalesce(json_agg(jobid), '[]') FROM stopped`,
    DATABASE,
  );
  return { jobs: [...new Set([...before, ...(JSON.parse(stopped) as number[])])] };
}

/** Lets go; can be repeated. */
export async function thaw(container: string, stopped: readonly number[]): Promise<void> {
  await superuserSql(container, THAW, DATABASE);
  if (stopped.length === 0 || (await jobs(container)) === "") return;
  await superuserSql(container, `UPDATE cron.job SET active = true WHERE jobid IN (${stopped.join(", ")})`, DATABASE);
}
