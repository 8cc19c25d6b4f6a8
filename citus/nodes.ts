/** What a Citus cluster's nodes hold, and what follows from it: SQL for the coordinator, and sums. Pure. */
import { COORDINATOR, workerCluster } from "../components/docker/citusNames.ts";
import { literal } from "../components/sqlText.ts";
import { EXIT, UserError } from "../tuning/errors.ts";
import { bytes } from "../tuning/words.ts";
import { applyErrorsSql } from "./applyErrors.ts";
import { ANCHOR } from "./tables.ts";

/** One node: the primary of one of the clusters, which Citus calls a group. */
export interface CitusNode {
  readonly group: number;
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
  /** Whether it knows the tables, so that it can be asked. */
  readonly ready: boolean;
  /** Whether new shards, and those of a rebalance, may come to it. */
  readonly takesShards: boolean;
  /** Pieces that move as one: a range of users, in all tables that are distributed alike. */
  readonly shards: number;
  /** Of the distributed tables on it, indexes included; reference tables are on every node. */
  readonly bytes: number;
}

/** `coordinator`, `worker1`, …, as clusters are called. */
export const nodeName = ({ group }: Pick<CitusNode, "group">): string =>
  group === 0 ? COORDINATOR : workerCluster(group);

const SIZES = "sizes AS MATERIALIZED (SELECT shard_id, max(size) AS bytes FROM citus_shard_sizes() GROUP BY shard_id)";

/** A JSON array of CitusNode, by group. */
export const NODES_SQL = `
WITH ${SIZES}
SELECT coalesce(json_agg(node ORDER BY node.group), '[]') FROM (
  SELECT n.groupid AS group, n.nodeid AS "nodeId", n.nodename AS host, n.nodeport AS port,
    n.isactive AND n.hasmetadata AND n.metadatasynced AS ready, n.shouldhaveshards AS "takesShards",
    count(DISTINCT (t.colocationid, s.shardminvalue)) FILTER (WHERE t.partmethod = 'h') AS shards,
    coalesce(sum(z.bytes) FILTER (WHERE t.partmethod = 'h'), 0)::bigint AS bytes
  FROM pg_dist_node n
    LEFT JOIN pg_dist_placement p ON p.groupid = n.groupid AND p.shardstate = 1
    LEFT JOIN pg_dist_shard s ON s.shardid = p.shardid
    LEFT JOIN pg_dist_partition t ON t.logicalrelid = s.logicalrelid
    LEFT JOIN sizes z ON z.shard_id = s.shardid
  WHERE n.noderole = 'primary'
  GROUP BY n.groupid, n.nodeid, n.nodename, n.nodeport, n.isactive, n.hasmetadata, n.metadatasynced, n.shouldhaveshards
) node;`;

/** The largest worker's bytes over the mean of all that take shards; null where there is nothing or nobody. */
export function skewOf(nodes: readonly CitusNode[]): number | null {
  const workers = nodes.filter(({ group, takesShards }) => group > 0 && takesShards);
  const total = workers.reduce((sum, { bytes: its }) => sum + its, 0);
  if (total === 0) return null;
  return Math.max(...workers.map(({ bytes: its }) => its)) / (total / workers.length);
}

/** What part of all distributed data a node has, 0 to 1. */
export function shareOf(node: CitusNode, nodes: readonly CitusNode[]): number {
  const total = nodes.reduce((sum, { bytes: its }) => sum + its, 0);
  return total === 0 ? 0 : node.bytes / total;
}

/** What a node's server says of itself. */
export interface NodeVersions {
  readonly name: string;
  readonly postgresMajor: number;
  /** Of the files that the server has: `14.0-1`; `none` where there are none. */
  readonly citus: string;
  /** Of the extension's tables and functions in the database. */
  readonly extension: string;
}

/** A JSON object: NodeVersions without the name. It asks no function of Citus, which one of another version might lack. */
export const VERSIONS_SQL = `
SELECT json_build_object('postgresMajor', current_setting('server_version_num')::int / 10000,
  'citus', coalesce((SELECT default_version FROM pg_available_extensions WHERE name = 'citus'), 'none'),
  'extension', coalesce((SELECT extversion FROM pg_extension WHERE extname = 'citus'), 'none'));`;

/** Refuses to give shards to a worker of another version than the coordinator's. */
export function checkVersions(coordinator: NodeVersions, workers: readonly NodeVersions[]): void {
  const words = ({ postgresMajor, citus, extension }: NodeVersions): string =>
    `PostgreSQL ${postgresMajor}, Citus ${citus} (extension ${extension})`;
  const other = workers.find((worker) => words(worker) !== words(coordinator));
  if (!other) return;
  throw new UserError(
    `${other.name} has ${words(other)}, the coordinator has ${words(coordinator)}: no shard moves there`,
    other.extension === coordinator.extension
      ? "give all nodes the same image (./cgraph-db up), then call this again"
      : `as the superuser on each node, the coordinator last: ALTER EXTENSION citus UPDATE; then call this again`,
    EXIT.refused,
  );
}

/** A file system that servers keep their data on. */
export interface Disk {
  /** What the kernel calls it: servers whose volumes are on one disk share its room. */
  readonly source: string;
  readonly sizeBytes: number;
  readonly freeBytes: number;
}

/** citus.desired_percent_disk_available_after_move, by default: what Citus leaves free of every disk. */
const KEPT_FREE = 0.1;
/** A copy beside what it is made of: its WAL until it is archived, and what is written meanwhile. */
const ROOM_FACTOR = 1.2;

/**
 * Refuses a move of so many bytes that the disks cannot hold. `servers`: of each worker, all of which get a copy.
 */
export function checkRoom(moved: number, servers: number, disks: readonly Disk[]): void {
  const byDisk = new Map(disks.map((disk) => [disk.source, disk]));
  const free = [...byDisk.values()].reduce(
    (sum, { freeBytes, sizeBytes }) => sum + Math.max(0, freeBytes - sizeBytes * KEPT_FREE),
    0,
  );
  const needed = moved * servers * ROOM_FACTOR;
  if (needed <= free) return;
  throw new UserError(
    `the workers that stay cannot hold what the others have: ${bytes(moved)} on ${servers} servers of each need ${bytes(needed)}, and there are ${bytes(free)}, a tenth of every disk left free`,
    "make room on their disks (docker system df, ./cgraph-db prune), delete rows, or keep the worker",
    EXIT.refused,
  );
}

/** The tenant whose shard a value of the distribution column is in; null where there is no such table yet. */
export interface TenantShard {
  readonly shard: number;
  readonly group: number;
  /** Whether the shard has this one hash value, and so (but for another of the same hash) this one tenant. */
  readonly alone: boolean;
}

/** A JSON object, TenantShard, for a user's id as a literal. */
export const tenantSql = (id: string): string => `
SELECT json_build_object('shard', s.shardid, 'group', p.groupid, 'alone', s.shardminvalue = s.shardmaxvalue)
FROM pg_dist_shard s JOIN pg_dist_placement p ON p.shardid = s.shardid AND p.shardstate = 1
WHERE s.shardid = get_shard_id_for_distribution_column('${ANCHOR}', '${id}'::uuid);`;

/** A shard of a tenant's own, in every table that is distributed alike; clients write meanwhile. */
export const isolateSql = (id: string): string =>
  `SELECT isolate_tenant_to_new_shard('${ANCHOR}', '${id}'::uuid, 'CASCADE', shard_transfer_mode => 'force_logical');`;

/** How often workers could not apply what was written to a shard while it is split. */
export const SPLIT_ERRORS_SQL = `
SELECT coalesce(sum(result::bigint), 0)
FROM run_command_on_workers($$${applyErrorsSql("citus_shard_split_subscription")}$$) WHERE success;`;

/** Names of what a shard's rows, and those that are where they are, lie in on their worker; JSON. */
export const shardTablesSql = (shard: number): string => `
SELECT json_agg(shard_name(s.logicalrelid, s.shardid) ORDER BY s.shardid)
FROM pg_dist_shard s JOIN pg_dist_partition p USING (logicalrelid),
  (SELECT shardminvalue, colocationid FROM pg_dist_shard JOIN pg_dist_partition USING (logicalrelid) WHERE shardid = ${shard}) this
WHERE s.shardminvalue = this.shardminvalue AND p.colocationid = this.colocationid;`;

/** How a statement begins that holds writes while a shard is split. */
export const HOLD = "DO $hold$";

/**
 * For the worker: holds writes to these tables from the moment in which a split begins to note what changes until the new
 * shards have their keys, for three seconds at the most. It waits for others in short turns, so that nobody is in a deadlock
 * because of it, and takes no transaction id, for whose end the split would wait.
 */
export const holdSql = (tables: readonly string[]): string => `${HOLD}
DECLARE
  over timestamptz := clock_timestamp() + interval '2 min';
BEGIN
  PERFORM set_config('citus.enable_manual_changes_to_shards', 'on', true), set_config('lock_timeout', '200ms', true);
  WHILE NOT EXISTS (SELECT FROM pg_publication WHERE pubname ^@ 'citus_shard_split_publication') LOOP
    IF clock_timestamp() > over THEN RETURN; END IF;
    PERFORM pg_sleep(0.005);
  END LOOP;
  over := clock_timestamp() + interval '3 s';
  LOOP
    BEGIN
      LOCK TABLE ${tables.join(", ")} IN EXCLUSIVE MODE;
      EXIT;
    EXCEPTION WHEN lock_not_available THEN
      IF clock_timestamp() > over THEN RETURN; END IF;
    END;
  END LOOP;
  WHILE clock_timestamp() < over AND EXISTS (
    SELECT FROM pg_publication JOIN pg_publication_rel ON prpubid = pg_publication.oid
    WHERE pubname ^@ 'citus_shard_split_publication'
      AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = prrelid AND (indisprimary OR indisreplident))) LOOP
    PERFORM pg_sleep(0.005);
  END LOOP;
END $hold$;`;

/** Cancels a statement that somebody else is at. */
export const cancelSql = (statement: string): string =>
  `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ^@ ${literal(statement.replace(/;$/, ""))};`;

export const moveShardSql = (shard: number, from: CitusNode, to: CitusNode): string =>
  `SELECT citus_move_shard_placement(${shard}, ${from.nodeId}, ${to.nodeId}, 'force_logical');`;

/** Removes all that Citus knows of a group: standbys first, since a primary goes last. */
export const forgetGroupSql = (group: number): string => `
SELECT citus_remove_node(nodename, nodeport)
FROM (SELECT nodename, nodeport FROM pg_dist_node WHERE groupid = ${group} ORDER BY noderole = 'primary') node;`;
