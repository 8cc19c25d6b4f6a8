/** Asks a stack's coordinator about its nodes and shards, as the superuser: most of Citus' functions for nodes are for that one. */
import { citusGroup } from "../../components/docker/citusNames.ts";
import { DATABASE } from "../../components/roles.ts";
import { type CitusNode, NODES_SQL, type NodeVersions, VERSIONS_SQL, checkVersions } from "../../citus/nodes.ts";
import type { CitusOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { citusOf, clusterViews, regionsOf } from "../lib/clusters.ts";
import { isPrimaryAtHome } from "../regions/reach.ts";
import { superuserScript } from "../shards/owner.ts";

/** The Citus cluster of a stack. Throws a UserError where it has none. */
export function requireCitus(stack: string, values: StackValues): CitusOutput {
  const citus = citusOf(values);
  if (citus) return citus;
  throw new UserError(
    `stack ${stack} is at stage ${values.stage}, without a Citus cluster`,
    values.stage === 4 ? "see ./cgraph-db reshard for shards of stage 4" : "Citus comes with stage 5",
    EXIT.refused,
  );
}

/** The regions beside home in which workers have standbys. */
export const standbyRegions = (values: StackValues): string[] =>
  (regionsOf(values)?.all ?? []).slice(1).map(({ name }) => name);

/** Refuses to change which workers there are while the primary is elsewhere: home's Patroni tells Citus of them. */
export function requirePrimaryAtHome(values: StackValues): void {
  if (isPrimaryAtHome(values)) return;
  const { primary, all } = regionsOf(values) ?? { primary: "", all: [] };
  const home = all[0]?.name ?? "";
  throw new UserError(
    `the primary is in ${primary}, and workers come and go while it is in ${home}`,
    `./cgraph-db region promote ${home} --force`,
    EXIT.refused,
  );
}

/** Runs SQL on the coordinator; gives what it prints. */
export const onCoordinator = (values: StackValues, sql: string): Promise<string> =>
  superuserScript(values, DATABASE, sql);

/** The same for SQL whose one value is JSON. */
export const askCoordinator = async <T>(values: StackValues, sql: string): Promise<T> =>
  JSON.parse(await onCoordinator(values, sql)) as T;

export const citusNodes = (values: StackValues): Promise<CitusNode[]> => askCoordinator(values, NODES_SQL);

/** Refuses, before shards move, where a worker is of another version than the coordinator. */
export async function checkNodeVersions(values: StackValues): Promise<void> {
  const [coordinator, ...workers] = await Promise.all(
    clusterViews(values).map(async (view): Promise<NodeVersions> => {
      const said = JSON.parse(await superuserScript(view.values, DATABASE, VERSIONS_SQL)) as Omit<NodeVersions, "name">;
      return { name: view.name, ...said };
    }),
  );
  if (coordinator) checkVersions(coordinator, workers);
}

/** Waits until the coordinator has each of these clusters among its nodes: Patroni registers them when they have a primary. */
export async function waitForNodes(
  values: StackValues,
  names: readonly string[],
  patienceMs = 120_000,
): Promise<CitusNode[]> {
  const end = Date.now() + patienceMs;
  for (;;) {
    const nodes = await citusNodes(values).catch(() => []);
    const missing = names.filter((name) => !nodes.some(({ group, ready }) => ready && group === citusGroup(name)));
    if (missing.length === 0) return nodes;
    if (Date.now() > end) {
      throw new UserError(
        `the coordinator does not know ${missing.join(", ")} yet`,
        "see ./cgraph-db status and ./cgraph-db logs coordinator-pg0, then call this again: it goes on",
        EXIT.failed,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
