/** The steps of a move between stages, as plain data: what each does, what clients notice, how long, and the way back. */
import {
  MEASURED,
  type MoveFacts,
  type Plain,
  type PlannedStep,
  type StepId,
  commonHead,
  finish,
  home,
  measured,
  quiet,
  replicasStep,
  restartStep,
  verify,
} from "./moveSteps.ts";
import { toCitus } from "./toCitus.ts";
import { toShards } from "./toShards.ts";

function up(stage: number, facts: MoveFacts): (readonly [StepId, Plain])[] {
  if (stage === 4) return toShards(facts);
  if (stage === 5) return toCitus(facts);
  const added = (facts.servers[stage] ?? 1) - (facts.servers[stage - 1] ?? 1);
  if (stage === 2) {
    return [
      ...commonHead(),
      [
        "prepare",
        quiet(
          "prepare",
          "etcd, replica, pooler and router beside the server that runs",
          MEASURED.upSeconds,
          "they go again",
        ),
      ],
      [
        "takeover",
        {
          title: "takeover",
          does: "the server restarts under Patroni in a container of the cluster's, the router takes its port",
          clients: "writes pause",
          pause: measured(MEASURED.takeoverPauseSeconds, "one restart; clients of the server reconnect"),
          duration: measured(MEASURED.takeoverSeconds, "two Pulumi runs"),
          movesBytes: 0,
          wayBack: "the server on its own again, on its own port",
          noReturn: null,
        },
      ],
      replicasStep(added, facts),
      verify(),
      finish(stage),
    ];
  }
  return [
    ...commonHead(),
    [
      "extend",
      quiet(
        "extend",
        "more replicas, a second pooler, a cache and what keeps it in step; the router learns of them",
        2 * MEASURED.upSeconds,
        "they go again",
      ),
    ],
    replicasStep(added, facts),
    ...restartStep(stage, facts),
    ...(facts.partitioned
      ? []
      : [
          [
            "partitions",
            {
              title: "messages by month",
              does: "copied into partitions while they are in use, then swapped in",
              clients: "writes pause",
              pause: measured(MEASURED.partitionSwapSeconds, "the swap's lock"),
              duration: {
                seconds: 3 + facts.messagesBytes / MEASURED.convertBytesPerSecond,
                basis: `${facts.messagesBytes} bytes of messages at ${MEASURED.convertBytesPerSecond} a second, measured on two cores`,
              },
              movesBytes: facts.messagesBytes,
              wayBack: "none is needed: stage 2 works with partitions too; the table from before is kept",
              noReturn: null,
            },
          ] as const satisfies readonly [StepId, Plain],
        ]),
    verify(),
    finish(stage),
  ];
}

function down(stage: number, facts: MoveFacts): (readonly [StepId, Plain])[] {
  const discard: readonly [StepId, Plain] = [
    "discard",
    {
      ...quiet("discard", "the data of servers that are gone is deleted: copies of what stays", 2, "none"),
      noReturn: "the data of the servers that are gone is deleted",
    },
  ];
  const leave: readonly [StepId, Plain] =
    stage === 1
      ? [
          "alone",
          {
            title: "alone",
            does: "the first server goes on by itself, on its own port; replicas, pools and router go",
            clients: "writes pause",
            pause: measured(MEASURED.alonePauseSeconds, "a restart in another container; the pools' port is gone"),
            duration: measured(MEASURED.upSeconds, "a Pulumi run"),
            movesBytes: 0,
            wayBack: "the cluster as it was",
            noReturn: null,
          },
        ]
      : [
          "shrink",
          {
            ...quiet(
              "shrink",
              "replicas, the second pooler and the cache go",
              2 * MEASURED.upSeconds,
              "they come back",
            ),
            clients: "reconnect",
            pause: measured(1, "clients of the second pooler and of replicas that go reconnect"),
          },
        ];
  return [
    ...commonHead(),
    home(),
    leave,
    ...(stage === 1 ? [] : restartStep(stage, facts)),
    verify(),
    discard,
    finish(stage),
  ];
}

/** Stages that a move passes through, in order. To stage 5 one database goes straight: it needs no shards on its way. */
export function legsOf(from: number, to: number): number[] {
  if (to === 5 && from < 4) return [...legsOf(from, 3), 5];
  const direction = Math.sign(to - from);
  return Array.from({ length: Math.abs(to - from) }, (_, index) => from + direction * (index + 1));
}

/**
 * The ordered steps of a move between stages in Docker; none for one from shards or from a Citus cluster back to fewer
 * servers.
 */
export function planMove(from: number, to: number, facts: MoveFacts): PlannedStep[] {
  if (from > 3 && !(from === 4 && to === 5)) return [];
  return legsOf(from, to).flatMap((stage) =>
    (stage > from ? up(stage, facts) : down(stage, facts)).map(([id, step]) => ({ id: `${stage}:${id}`, ...step })),
  );
}
