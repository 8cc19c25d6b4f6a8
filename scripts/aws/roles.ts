/** The application's roles on RDS, made by the administrator, who is no superuser there. */
import { literal } from "../../components/sqlText.ts";
import { CHECK_ROLE, ADMINISTRATOR } from "../../components/aws/names.ts";
import { type ServerRole, loginVerifiers, namesOf, serverRoles } from "../../components/logins.ts";
import { DATABASE, OWNER, ROLES, type RoleName, passwordSql } from "../../components/roles.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { generationsOf, passwordsOf } from "../lib/login.ts";
import { step } from "../lib/progress.ts";
import { administratorOf, withPrimary } from "./client.ts";

/** Roles that only our own servers need: RDS does their work itself. */
const NOT_ON_RDS: readonly RoleName[] = ["replicator", "cgraph_pooler", "cgraph_rewind"];
const NAMES_NOT_ON_RDS = NOT_ON_RDS.flatMap(namesOf);

const create = (name: string): string =>
  `DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${literal(name)}) THEN CREATE ROLE ${name}; END IF;
END $$;`;

/**
 * Makes roles, grants and extensions as they should be; can be run any number of times. Holds verifiers, no passwords; a
 * role without one lets nobody in.
 */
export function rdsRolesSql(
  serverHas: readonly ServerRole[],
  verifiers: Readonly<Record<string, string | null>>,
): string {
  const roles = ROLES.filter(({ name }) => !NOT_ON_RDS.includes(name));
  const served = serverHas.filter(({ name }) => !NAMES_NOT_ON_RDS.includes(name));
  const made = served.map(({ name, attributes, defaults, memberOf }) => {
    // RDS gives replication by a role of its own, not by the attribute.
    const replicates = /(^| )REPLICATION/.test(attributes);
    const own = attributes.replace(/(NO)?REPLICATION/, "").trim();
    return [
      create(name),
      `ALTER ROLE ${name} LOGIN ${own} ${passwordSql(verifiers[name])};`,
      ...memberOf.map((group) => `GRANT ${group} TO ${name};`),
      ...Object.entries(defaults).map(([key, value]) => `ALTER ROLE ${name} SET ${key} = ${literal(value)};`),
      ...(replicates ? [`GRANT rds_replication TO ${name};`] : []),
    ].join("\n");
  });
  return `SET client_min_messages = warning;
${made.join("\n")}
${create(CHECK_ROLE)}
ALTER ROLE ${CHECK_ROLE} LOGIN CONNECTION LIMIT 5;
ALTER ROLE ${CHECK_ROLE} SET statement_timeout = '10s';
GRANT rds_iam TO ${CHECK_ROLE};
GRANT pg_monitor TO ${CHECK_ROLE};
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
-- Index advice is proven by it (doctor), which does without where the server does not have it.
DO $$ BEGIN
  CREATE EXTENSION IF NOT EXISTS hypopg;
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN NULL;
END $$;
GRANT ${OWNER} TO CURRENT_USER;
DO $$ BEGIN
  IF (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '${DATABASE}') <> '${OWNER}' THEN
    ALTER DATABASE ${DATABASE} OWNER TO ${OWNER};
  END IF;
END $$;
SET ROLE ${OWNER};
REVOKE ALL ON DATABASE ${DATABASE} FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE ${DATABASE}
  TO ${[...roles.filter(({ connects }) => connects).map(({ name }) => name), CHECK_ROLE, ADMINISTRATOR].join(", ")};
GRANT CREATE ON DATABASE ${DATABASE} TO ${ADMINISTRATOR};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO ${OWNER};
GRANT USAGE ON SCHEMA public TO cgraph, cgraph_readonly, cgraph_monitor, ${CHECK_ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cgraph;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO cgraph;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO cgraph_readonly;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON SEQUENCES TO cgraph_readonly;
RESET ROLE;
DO $$ BEGIN
  IF current_setting('shared_preload_libraries') ~ 'pg_cron' THEN
    CREATE EXTENSION IF NOT EXISTS pg_cron;
    CREATE SCHEMA IF NOT EXISTS partman;
    CREATE EXTENSION IF NOT EXISTS pg_partman SCHEMA partman;
    GRANT USAGE ON SCHEMA cron TO ${OWNER};
    GRANT ALL ON SCHEMA partman TO ${OWNER};
    GRANT ALL ON ALL TABLES IN SCHEMA partman TO ${OWNER};
    GRANT EXECUTE ON ALL ROUTINES IN SCHEMA partman TO ${OWNER};
  END IF;
END $$;
`;
}

/** The values of a sharded stack's clusters beside the first, each as if it were a stack of its own. */
const otherClusterValues = (values: AwsStackValues): AwsStackValues[] =>
  (values.sharding?.others ?? []).map(({ write, read }) => ({
    ...values,
    endpoints: { ...values.endpoints, write, read },
  }));

/** Brings the roles of each primary up to date. */
export async function applyRoles(values: AwsStackValues): Promise<void> {
  const generations = generationsOf(values);
  const verifiers = loginVerifiers(generations, passwordsOf(values));
  await step("roles", async () => {
    const login = administratorOf(values);
    for (const { endpoints } of [values, ...otherClusterValues(values)]) {
      await withPrimary({ ...values, endpoints }, login, "cgraph-db roles", (client) =>
        client.query(rdsRolesSql(serverRoles(generations), verifiers)),
      );
    }
    return { value: undefined, done: "as they should be" };
  });
}
