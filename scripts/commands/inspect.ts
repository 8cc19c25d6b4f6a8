import type { Client } from "pg";
import { UserError } from "../../tuning/errors.ts";
import { readActivity, showActivity } from "../inspect/activity.ts";
import { SCANS_SQL, readIndexes, reportIndexes, showIndexes } from "../inspect/indexes.ts";
import { readLocks, showLocks } from "../inspect/locks.ts";
import { readReplication, showReplication } from "../inspect/replication.ts";
import { readSize, showSize } from "../inspect/size.ts";
import { SLOW_ORDERS, type SlowOrder, readSlow, showSlow } from "../inspect/slow.ts";
import { readStatistics, readTables, reportTables, showTables } from "../inspect/tables.ts";
import { clusterMembers, isCluster, isLeader, superuserSql } from "../lib/cluster.ts";
import { type DatabasePlace, knownStackValues, looking, withDatabase } from "../lib/databaseClient.ts";
import { print, printJson } from "../lib/print.ts";
import { DATABASE } from "../../components/roles.ts";

export interface InspectFlags {
  readonly stack: string;
  readonly url?: string;
  readonly json?: boolean;
  readonly limit?: string;
  readonly partitions?: boolean;
  readonly by?: string;
}

const APPLICATION = "cgraph-db inspect";
const MONITOR = "cgraph_monitor";

/** Looks as cgraph_monitor, or as the URL's user. */
const look = <T>(flags: InspectFlags, work: (client: Client) => Promise<T>): Promise<T> =>
  withDatabase(placeOf(flags, MONITOR), APPLICATION, (client) => looking(client, work));

const placeOf = ({ stack, url }: InspectFlags, role: DatabasePlace["role"]): DatabasePlace => ({
  stack,
  role,
  ...(url === undefined ? {} : { url }),
});

/** How many lines to give. Throws a UserError where it is no such number. */
function limitOf({ limit }: InspectFlags, fallback: number): number {
  if (limit === undefined) return fallback;
  const value = Number(limit);
  if (Number.isInteger(value) && value > 0) return value;
  throw new UserError(`--limit is "${limit}"`, "give a whole number above 0");
}

function tell<T>(flags: InspectFlags, value: T, show: (value: T) => string): void {
  if (flags.json) printJson(value);
  else print(show(value));
}

/** `inspect size` */
export async function inspectSize(flags: InspectFlags): Promise<void> {
  tell(flags, await look(flags, readSize), showSize);
}

/** `inspect tables`: statistics of rows are told only to who may read them: in a stack cgraph_readonly. */
export async function inspectTables(flags: InspectFlags): Promise<void> {
  const read = (client: Client) => looking(client, readStatistics);
  const [rows, statistics] =
    flags.url === undefined
      ? [await look(flags, readTables), await withDatabase(placeOf(flags, "cgraph_readonly"), APPLICATION, read)]
      : await look(flags, async (client) => [await readTables(client), await readStatistics(client)] as const);
  const reports = reportTables(rows, statistics, { partitions: flags.partitions === true });
  tell(flags, limitedTo(reports, flags), showTables);
}

const limitedTo = <T>(rows: readonly T[], flags: InspectFlags): readonly T[] => rows.slice(0, limitOf(flags, 100_000));

/** Scans of a stack's replicas: each server counts its own. Undefined where they cannot be asked. */
async function replicaScans(flags: InspectFlags): Promise<Record<string, number>[] | undefined> {
  if (flags.url !== undefined) return undefined;
  const values = await knownStackValues(flags.stack);
  if (values.target === "aws") return values.endpoints.read.length === 0 ? [] : undefined;
  if (!isCluster(values)) return [];
  const replicas = (await clusterMembers(values)).filter((member) => !isLeader(member)).map(({ name }) => name);
  return Promise.all(
    values.nodes
      .filter(({ name }) => replicas.includes(name))
      .map(
        async ({ container }) =>
          JSON.parse(await superuserSql(container, SCANS_SQL, DATABASE)) as Record<string, number>,
      ),
  );
}

/** `inspect indexes` */
export async function inspectIndexes(flags: InspectFlags): Promise<void> {
  const [facts, replicas] = await Promise.all([look(flags, readIndexes), replicaScans(flags)]);
  const reports = limitedTo(reportIndexes(facts, replicas), flags);
  const asked =
    replicas === undefined
      ? "on this server only: what replicas read counts there"
      : replicas.length === 0
        ? "on the one server there is"
        : `on the primary and ${replicas.length} replicas together`;
  if (flags.json) printJson({ since: facts.since, replicasAsked: replicas?.length ?? null, indexes: reports });
  else print(showIndexes(reports, facts.since, asked));
}

/** `inspect locks` */
export async function inspectLocks(flags: InspectFlags): Promise<void> {
  tell(flags, await look(flags, readLocks), showLocks);
}

/** `inspect replication` */
export async function inspectReplication(flags: InspectFlags): Promise<void> {
  tell(flags, await look(flags, readReplication), showReplication);
}

/** `inspect activity` */
export async function inspectActivity(flags: InspectFlags): Promise<void> {
  const limit = limitOf(flags, 20);
  tell(flags, await look(flags, (client) => readActivity(client, limit)), showActivity);
}

/** `inspect slow` */
export async function inspectSlow(flags: InspectFlags): Promise<void> {
  const limit = limitOf(flags, 10);
  const by = flags.by ?? "total";
  if (!(by in SLOW_ORDERS)) {
    throw new UserError(`--by is "${by}"`, `use one of ${Object.keys(SLOW_ORDERS).join(", ")}`);
  }
  tell(flags, await look(flags, (client) => readSlow(client, by as SlowOrder, limit)), showSlow);
}
