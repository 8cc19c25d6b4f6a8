/** The steps of a move on AWS, where a person calls the commands and waits for AWS, in the words of migration/moves.ts. */
import { type AwsPlan, allNodes } from "../stacks/aws/plan.ts";
import type { StageNumber } from "../stacks/guide.ts";
import { citusSteps } from "./awsCitusMove.ts";
import { type AwsMove, NONE, planned, regionsOf, sizeOf } from "./awsSteps.ts";
import { AWS, CONVERT_BYTES_PER_SECOND, MINUTE, REPLICA_BASE_SECONDS, REPLICA_BYTES_PER_SECOND } from "./awsTimes.ts";
import type { PlannedStep } from "./moveSteps.ts";

/** Static parameters that differ: they wait for a reboot. */
export function rebootParameters(from: AwsPlan, to: AwsPlan): string[] {
  const of = (plan: AwsPlan) => new Map((plan.nodes[0]?.parameters ?? []).map((one) => [one.name, one]));
  const [before, after] = [of(from), of(to)];
  return [...new Set([...before.keys(), ...after.keys()])].filter((name) => {
    const [old, next] = [before.get(name), after.get(name)];
    return (next ?? old)?.applyMethod === "pending-reboot" && old?.value !== next?.value;
  });
}

/** What the two plans say of the move. */
function comparison({ from, to }: AwsMove) {
  const [old, next] = [from?.nodes[0], to.nodes[0]];
  const names = (plan: AwsPlan | null): string[] => (plan ? allNodes(plan) : []).map(({ name }) => name);
  return {
    // Primaries of other clusters copy nobody.
    newReplicas: allNodes(to)
      .filter(({ name, role }) => role === "replica" && !names(from).includes(name))
      .map(({ name }) => name),
    newClusters: [...new Set(to.nodes.map(({ cluster }) => cluster))]
      .filter((cluster) => cluster !== null && from?.nodes.every((node) => node.cluster !== cluster) !== false)
      .map(String),
    goneReplicas: names(from).filter((name) => !names(to).includes(name)),
    // Those of further regions go for good; home's the stack only lets go of.
    letGo: (from?.nodes ?? []).map(({ name }) => name).filter((name) => !names(to).includes(name)),
    newRegions: regionsOf(to).filter((name) => !regionsOf(from).includes(name)),
    kept: names(to).filter((name) => names(from).includes(name)),
    classChanges: from !== null && old?.class.name !== next?.class.name,
    grows: from !== null && (next?.storageGiB ?? 0) > (old?.storageGiB ?? 0),
    wasMultiAz: old?.multiAz === true,
    isMultiAz: next?.multiAz === true,
    newPool: to.pool !== undefined && from?.pool?.kind !== to.pool.kind,
    gonePool: from?.pool !== undefined && from.pool.kind !== to.pool?.kind,
    // Its servers, sizes and users are in what its tasks start with.
    poolRestarts: from?.pool !== undefined && from.pool.kind === to.pool?.kind && from.stage !== to.stage,
    newCache: to.cache !== undefined && from?.cache === undefined,
    goneCache: from?.cache !== undefined && to.cache === undefined,
    parameters: from === null ? [] : rebootParameters(from, to),
  };
}

type Compared = ReturnType<typeof comparison>;

function upStep(move: AwsMove, seen: Compared): PlannedStep {
  const { from, to } = move;
  const makes = [
    ...(from === null ? ["network, key, server"] : []),
    ...(seen.newClusters.length > 0 ? [`servers of ${seen.newClusters.join(", ")}, empty`] : []),
    ...(seen.newRegions.length > 0 ? [`networks in ${seen.newRegions.join(", ")}, connected`] : []),
    ...(seen.newReplicas.length > 0 ? [`begins ${seen.newReplicas.join(", ")}`] : []),
    ...(seen.newPool ? ["the pool"] : []),
    ...(seen.newCache ? ["the cache"] : []),
    ...(seen.goneReplicas.length > 0 ? [`lets go of ${seen.goneReplicas.join(", ")}`] : []),
    ...(seen.gonePool ? ["the old pool goes"] : []),
    ...(seen.goneCache ? ["the cache goes"] : []),
    "parameters and alarms",
  ];
  const duration =
    from === null
      ? AWS.create
      : seen.newCache
        ? AWS.cache
        : seen.goneReplicas.length > 0 || seen.goneCache
          ? AWS.delete
          : AWS.small;
  // The standby itself comes with the move: until then a snapshot stops the server.
  const stops = seen.newReplicas.length > 0 && from !== null && !seen.wasMultiAz;
  const allowing = seen.goneReplicas.length > 0 ? " --allow-replace URN for each server that goes" : "";
  return planned(to.stage, "up", {
    title: "up",
    does: `./cgraph-db up --stage ${to.stage}${from === null ? " --target aws" : ""}${allowing}: ${makes.join(", ")}`,
    duration,
    ...(stops
      ? { clients: "writes pause", pause: AWS.snapshotPause }
      : seen.poolRestarts
        ? { clients: "reconnect", pause: AWS.drained }
        : {}),
    wayBack:
      from === null
        ? "./cgraph-db down --delete-data"
        : `./cgraph-db up --stage ${from.stage}; storage that has grown stays`,
  });
}

/** What the stack has let go of runs on, and is paid for, until somebody deletes it: it is protected at AWS too. */
function discardStep(move: AwsMove, { letGo }: Compared): PlannedStep[] {
  if (letGo.length === 0) return [];
  return [
    planned(move.to.stage, "discard", {
      title: "discard",
      does: `aws rds modify-db-instance --no-deletion-protection and delete-db-instance --skip-final-snapshot for ${letGo.join(", ")}: till then they run, and are paid for`,
      duration: AWS.delete,
      noReturn: "the servers are deleted: copies of what stays",
      wayBack: "new replicas are copied anew",
    }),
  ];
}

function replicaStep(move: AwsMove, seen: Compared): PlannedStep[] {
  if (seen.newReplicas.length === 0) return [];
  const { bytes, basis } = sizeOf(move);
  return [
    planned(move.to.stage, "replicas", {
      title: "replicas",
      does: `wait until ${seen.newReplicas.join(", ")} are available and their lag is small: ./cgraph-db status`,
      duration: {
        seconds: REPLICA_BASE_SECONDS + bytes / REPLICA_BYTES_PER_SECOND,
        basis: `all at once: a quarter of an hour for the servers, and the data (${basis}) at 100 MiB a second; AWS names no figure`,
      },
      movesBytes: bytes * seen.newReplicas.length,
      wayBack: NONE,
    }),
  ];
}

/** Class, storage and standby, which AWS does at once or in the window. */
function windowStep(move: AwsMove, seen: Compared): PlannedStep[] {
  const standby = seen.wasMultiAz !== seen.isMultiAz;
  if (move.from === null || !(seen.classChanges || seen.grows || standby)) return [];
  const [old, next] = [move.from.nodes[0], move.to.nodes[0]];
  const what = [
    ...(seen.classChanges ? [`${seen.kept.join(", ")} from ${old?.class.name} to ${next?.class.name}`] : []),
    ...(seen.grows ? [`storage from ${old?.storageGiB} to ${next?.storageGiB} GiB, while it serves`] : []),
    ...(standby ? [seen.isMultiAz ? "a standby in another zone" : "the standby goes"] : []),
    ...(seen.classChanges && seen.parameters.length > 0
      ? [`${seen.parameters.length} static parameters take effect with that restart`]
      : []),
  ].join("; ");
  const when = move.applyImmediately
    ? "at once, as cgraph:applyImmediately says"
    : "wait for the maintenance window (Sunday 04:30 to 05:30 UTC), or set applyImmediately to true and call up";
  return [
    planned(move.to.stage, "window", {
      title: seen.classChanges ? "class" : "storage",
      does: `${when}: ${what}`,
      ...(seen.classChanges
        ? { clients: "writes pause", pause: seen.wasMultiAz && seen.isMultiAz ? AWS.failover : AWS.classAlone }
        : {}),
      duration: { ...AWS.classChange, seconds: AWS.classChange.seconds * (seen.classChanges ? seen.kept.length : 1) },
      wayBack: seen.grows ? "the class from before, by the same way; storage never shrinks" : "the same way back",
    }),
  ];
}

function restartStep(move: AwsMove, seen: Compared): PlannedStep[] {
  // Another class restarts every server anyway, and the parameters come with it.
  if (seen.parameters.length === 0 || seen.classChanges) return [];
  const pause = seen.wasMultiAz ? AWS.failover : AWS.reboot;
  return [
    planned(move.to.stage, "restart", {
      title: "restart",
      does: `./cgraph-db restart --rolling, for ${seen.parameters.join(", ")}: replicas first, then the primary`,
      clients: "writes pause",
      pause,
      duration: {
        seconds: AWS.reboot.seconds * seen.kept.length,
        basis: "three minutes a server, one after the other",
      },
      wayBack: "the parameters from before, by the same way",
    }),
  ];
}

function clientsStep(move: AwsMove, seen: Compared): PlannedStep[] {
  const down = move.from !== null && move.to.stage < move.from.stage;
  const addresses = down
    ? [
        ...(seen.gonePool ? ["writes and reads to the server's own address"] : []),
        ...(seen.goneCache ? ["no cache any more"] : []),
        ...(seen.goneReplicas.length > 0 ? [`nothing to ${seen.goneReplicas.join(", ")} directly`] : []),
      ]
    : [
        ...(seen.newPool ? ["writes and reads to the pool's address"] : []),
        ...(seen.newCache ? ["the cache's URL"] : []),
        ...(seen.newReplicas.length > 0 && !seen.newPool ? ["direct reads to the new replicas too"] : []),
        ...(seen.newRegions.length > 0 ? [`reads in ${seen.newRegions.join(", ")} to the replicas there`] : []),
        ...(move.from === null && !seen.newPool ? ["the server's address"] : []),
      ];
  if (addresses.length === 0) return [];
  const first = move.from === null;
  return [
    planned(move.to.stage, "clients", {
      title: "clients",
      does: `point the application at it, a deployment of its own (./cgraph-db env): ${addresses.join(", ")}`,
      ...(first
        ? {}
        : {
            clients: "reconnect",
            pause: { seconds: 1, basis: "a reconnect each; old and new addresses serve side by side" },
          }),
      duration: { seconds: 10 * MINUTE, basis: "a deployment of the application; yours may take longer" },
      wayBack: "the URLs from before",
    }),
  ];
}

/** Rows to shards: what `migrate` does in Docker. */
function shardsStep(move: AwsMove): PlannedStep[] {
  if (move.from === null || move.from.sharding !== undefined || move.to.sharding === undefined) return [];
  const { shards } = move.to.sharding;
  const { bytes, basis } = sizeOf(move);
  const moved = (bytes * (shards - 1)) / shards;
  return [
    planned(move.to.stage, "shards", {
      title: "rows to shards",
      does: "keys, global database, directory of names, router database, then the buckets, copied and handed over by logical replication: what ./cgraph-db migrate does in Docker (docs/sharding.md); in this version it does not reach AWS, where the application goes on with the first shard until you have done it",
      clients: "writes pause",
      pause: { seconds: 1, basis: "once for each shard; half a second measured in Docker, a second taken" },
      duration: {
        seconds: MINUTE + moved / CONVERT_BYTES_PER_SECOND,
        basis: `${shards - 1} of ${shards} parts of the data (${basis}), at 8 MiB a second, as partitions are converted; an estimate`,
      },
      movesBytes: moved,
      wayBack: "the buckets go back, until the old copies are deleted",
    }),
  ];
}

function partitionsStep(move: AwsMove): PlannedStep[] {
  if (move.to.stage < 3 || (move.from !== null && move.from.stage >= 3)) return [];
  const { bytes, basis } = sizeOf(move);
  return [
    planned(move.to.stage, "partitions", {
      title: "messages by month",
      does: "messages into partitions with pg_partman and pg_cron, which RDS has: what ./cgraph-db partitions convert does in Docker; in this version it does not reach AWS, where you do it by hand (docs/partitions.md)",
      clients: "writes pause",
      pause: { seconds: 1, basis: "the swap's lock; 0.1 s measured in Docker, a second taken" },
      duration: {
        seconds: MINUTE + bytes / CONVERT_BYTES_PER_SECOND,
        basis: `all of the database taken for messages (${basis}), at 8 MiB a second as measured on two cores`,
      },
      movesBytes: bytes,
      wayBack: "the table from before is kept",
    }),
  ];
}

/** Whether a stage is made as a stack of its own beside the one there is: RDS has no Citus, so nothing becomes it in place. */
export const needsOwnStack = (from: number, to: number): boolean => to === 5 && from !== to;

/** The ordered steps of a move on AWS. */
export function planAwsMove(move: AwsMove): PlannedStep[] {
  const { from, to } = move;
  if (to.citus || from?.citus) return citusSteps(move);
  const stage: StageNumber = to.stage;
  const seen = comparison(move);
  const down = from !== null && to.stage < from.stage;
  const clients = clientsStep(move, seen);
  return [
    ...(from === null
      ? []
      : [
          planned(stage, "check", {
            title: "checks",
            does: "./cgraph-db status: all servers available, no alarm rings, no transaction open for long; RDS can restore to any second of the last days",
            duration: AWS.person,
            wayBack: NONE,
          }),
        ]),
    // What goes must not have clients any more.
    ...(down ? clients : []),
    upStep(move, seen),
    ...replicaStep(move, seen),
    ...windowStep(move, seen),
    ...restartStep(move, seen),
    ...(from === null
      ? [
          planned(stage, "schema", {
            title: "schema",
            does: "./cgraph-db schema apply: tables and indexes",
            duration: { seconds: MINUTE, basis: "an empty database" },
            wayBack: NONE,
          }),
        ]
      : []),
    ...(down ? [] : clients),
    ...partitionsStep(move),
    ...shardsStep(move),
    ...discardStep(move, seen),
    planned(stage, "verify", {
      title: "verify",
      does: "./cgraph-db status and ./cgraph-db preview: all available, nothing pending, nothing would change",
      duration: AWS.person,
      wayBack: NONE,
    }),
  ];
}
