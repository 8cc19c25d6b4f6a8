import type { StackValues } from "../../stacks/outputs.ts";
import { currentPrimary, superuserSql } from "./cluster.ts";

/** How far a replica is behind the primary. */
export interface Lag {
  readonly name: string;
  readonly bytes: number;
  readonly seconds: number;
}

/** Lag of every streaming replica, as the primary sees it (guide: Monitoring › Replication lag). */
export async function replicationLag(values: StackValues): Promise<Lag[]> {
  const primary = await currentPrimary(values);
  const rows = await superuserSql(
    primary.container,
    `SELECT coalesce(json_agg(json_build_object('name', application_name,
       'bytes', greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0),
       'seconds', round(extract(epoch FROM coalesce(replay_lag, interval '0')), 1))), '[]')
     FROM pg_stat_replication WHERE replay_lsn IS NOT NULL`,
  );
  return JSON.parse(rows) as Lag[];
}
