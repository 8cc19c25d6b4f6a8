/** SQL for the errors of subscriptions. Pure. */

/** How often subscriptions whose names begin so could not apply a change; each tries it again every five seconds. */
export const applyErrorsSql = (prefix: string): string =>
  `SELECT coalesce(sum(apply_error_count), 0) FROM pg_stat_subscription_stats WHERE subname ^@ '${prefix}'`;
