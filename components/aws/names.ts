/** Names of what a stack has on AWS. */

/** A resource of a stack: `cgraph-production-pg0`. */
export const awsName = (stack: string, ...parts: readonly string[]): string => ["cgraph", stack, ...parts].join("-");

/** The administrator's name on RDS; the application's roles are made by it. */
export const ADMINISTRATOR = "cgraph_admin";
