/** Names of what a stack has on AWS. */

/** A resource of a stack: `cgraph-production-pg0`. */
export const awsName = (stack: string, ...parts: readonly string[]): string => ["cgraph", stack, ...parts].join("-");

/** Where PostgreSQL listens. */
export const POSTGRES_PORT = 5432;

/** The administrator's name on RDS; the application's roles are made by it. */
export const ADMINISTRATOR = "cgraph_admin";

/** The role of the scheduled check, which logs in with AWS's own tokens: it has no password. */
export const CHECK_ROLE = "cgraph_check";

/** Of a secret that is made of others: it goes at once, so that one of its name can be made again. */
export const NO_RECOVERY_DAYS = 0;

/** The log group of an RDS instance's server log; the name is RDS's own. */
export const serverLog = (identifier: string): string => `/aws/rds/instance/${identifier}/postgresql`;
