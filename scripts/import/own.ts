/** Whose everything is afterwards: as if cgraph_owner had made it. */
import { OWNER } from "../../components/roles.ts";
import { OTHER_SCHEMAS, notOfExtension } from "./inspect.ts";

/** SQL, as one transaction, that gives all of a database to cgraph_owner, and the stack's roles their rights to it. */
export const OWN_SQL = `DO $own$
DECLARE statement text;
BEGIN
  FOR statement IN
    SELECT format('ALTER SCHEMA %I OWNER TO ${OWNER}', n.nspname) FROM pg_namespace n
      WHERE ${OTHER_SCHEMAS} AND n.nspname NOT IN ('public', 'cron', 'partman') AND ${notOfExtension("pg_namespace", "n.oid")}
    UNION ALL
    -- Sequences of columns follow their tables; partitions are tables of their own.
    SELECT format('ALTER %s %I.%I OWNER TO ${OWNER}', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
        WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, n.nspname, c.relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND ${OTHER_SCHEMAS} AND ${notOfExtension("pg_class", "c.oid")}
        AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid
          AND o.deptype IN ('a', 'i') AND o.refobjsubid > 0 AND c.relkind = 'S')
    UNION ALL
    SELECT format('ALTER TYPE %I.%I OWNER TO ${OWNER}', n.nspname, t.typname)
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE t.typtype IN ('e', 'd', 'r') AND ${OTHER_SCHEMAS} AND ${notOfExtension("pg_type", "t.oid")}
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO ${OWNER}', p.oid::regprocedure)
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE ${OTHER_SCHEMAS} AND ${notOfExtension("pg_proc", "p.oid")}
        -- A range type's constructors are its own.
        AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid AND o.deptype = 'i')
    UNION ALL
    SELECT format(right_, n.nspname) FROM pg_namespace n, unnest(ARRAY[
        'GRANT USAGE ON SCHEMA %I TO cgraph, cgraph_readonly, cgraph_monitor',
        'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO cgraph',
        'GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA %I TO cgraph',
        'GRANT SELECT ON ALL TABLES IN SCHEMA %I TO cgraph_readonly',
        'GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO cgraph_readonly',
        'ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cgraph',
        'ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA %I GRANT USAGE, SELECT ON SEQUENCES TO cgraph',
        'ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA %I GRANT SELECT ON TABLES TO cgraph_readonly',
        'ALTER DEFAULT PRIVILEGES FOR ROLE ${OWNER} IN SCHEMA %I GRANT SELECT ON SEQUENCES TO cgraph_readonly']) AS right_
      WHERE ${OTHER_SCHEMAS} AND n.nspname NOT IN ('cron', 'partman') AND ${notOfExtension("pg_namespace", "n.oid")}
  LOOP
    EXECUTE statement;
  END LOOP;
END $own$`;
