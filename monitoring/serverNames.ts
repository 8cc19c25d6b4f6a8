/**
 * What PostgreSQL servers that are watched are called, as a regular expression that Prometheus and PostgreSQL read alike:
 * `pg0`, at stage 4 `shard1-pg0` and `global-pg0`, at stage 5 `coordinator-pg0` and `worker1-pg0`. Servers of
 * other regions, which follow as well, are not among them.
 */
export const SERVER = "(global-|coordinator-|(shard|worker)[0-9]+-)?pg[0-9]+";
