/** The steps of a move between stages, as plain data: what each does, what clients notice, how long, and the way back. */
import type { Clients } from "./effect.ts";

export type StepId =
  | "check"
  | "backup"
  | "freeze"
  | "prepare"
  | "takeover"
  | "extend"
  | "home"
  | "alone"
  | "shrink"
  | "restart"
  | "replicas"
  | "partitions"
  | "verify"
  | "discard"
  | "finish";

/** An estimate, and what it rests on. */
export interface Estimate {
  readonly seconds: number;
  readonly basis: string;
}

export interface PlannedStep {
  /** The leg's target stage and the step: `2:takeover`. */
  readonly id: string;
  readonly title: string;
  readonly does: string;
  readonly clients: Clients;
  /** For how long clients notice it; null where they do not. */
  readonly pause: Estimate | null;
  /** How long it takes in all. */
  readonly duration: Estimate;
  /** Bytes that are copied. */
  readonly movesBytes: number;
  readonly wayBack: string;
  /** What cannot be taken back once it has begun. */
  readonly noReturn: string | null;
}

/** What the plan depends on. */
export interface MoveFacts {
  readonly databaseBytes: number;
  /** Servers after each stage: their number by stage. */
  readonly servers: Readonly<Record<number, number>>;
  /** Whether messages are partitioned already. */
  readonly partitioned: boolean;
  /** Settings that wait for a restart, by the stage that changes them. */
  readonly restarts: Readonly<Record<number, readonly string[]>>;
  readonly messagesBytes: number;
}

/** Rates and pauses measured on two cores (docs/benchmarks.md, `bench moves`); a larger machine is faster. */
export const MEASURED = {
  takeoverPauseSeconds: 2.2,
  heldRestartSeconds: 0.9,
  switchoverSeconds: 2.0,
  alonePauseSeconds: 5,
  copyBytesPerSecond: 60 * 1024 * 1024,
  convertBytesPerSecond: 8 * 1024 * 1024,
  partitionSwapSeconds: 0.1,
  upSeconds: 8,
  takeoverSeconds: 25,
  startServerSeconds: 5,
} as const;

const measured = (seconds: number, what: string): Estimate => ({ seconds, basis: `${what}, measured on two cores` });
const NONE = "nothing to take back";

type Plain = Omit<PlannedStep, "id">;
const quiet = (title: string, does: string, seconds: number, wayBack: string): Plain => ({
  ...{ title, does, clients: "nothing", pause: null, movesBytes: 0, wayBack, noReturn: null },
  duration: measured(seconds, "like before"),
});

function commonHead(): (readonly [StepId, Plain])[] {
  return [
    [
      "check",
      quiet("checks", "all servers well and in step, room for what comes, no transaction open for a minute", 3, NONE),
    ],
    ["backup", quiet("backup", "a backup, unless there is one of the last hour", 10, NONE)],
    [
      "freeze",
      quiet("freeze", "no schema changes but the move's own, pg_partman waits", 1, "schema changes are let go"),
    ],
  ];
}

const verify = (): readonly [StepId, Plain] => [
  "verify",
  quiet("verify", "the same database and schema as before, every replica in step, no slot left over", 3, NONE),
];
const finish = (stage: number): readonly [StepId, Plain] => [
  "finish",
  quiet(
    "finish",
    `stage ${stage} in the configuration, schema changes and pg_partman go on`,
    1,
    "the stage from before",
  ),
];

function replicasStep(count: number, facts: MoveFacts): readonly [StepId, Plain] {
  const bytes = count * facts.databaseBytes;
  return [
    "replicas",
    {
      title: "replicas",
      does: `${count} copied from the primary and in step`,
      clients: "nothing",
      pause: null,
      duration: {
        seconds: MEASURED.startServerSeconds + bytes / MEASURED.copyBytesPerSecond,
        basis: `${bytes} bytes at ${MEASURED.copyBytesPerSecond} a second, measured on two cores`,
      },
      movesBytes: bytes,
      wayBack: NONE,
      noReturn: null,
    },
  ];
}

function restartStep(stage: number, facts: MoveFacts): (readonly [StepId, Plain])[] {
  const names = facts.restarts[stage] ?? [];
  if (names.length === 0) return [];
  return [
    [
      "restart",
      {
        title: "restart",
        does: `for ${names.join(", ")}: replicas one by one, then the primary while the pools hold their clients`,
        clients: "writes pause",
        pause: measured(MEASURED.heldRestartSeconds, "a restart of the primary with the pools held"),
        duration: measured(MEASURED.startServerSeconds * (facts.servers[stage] ?? 1), "a restart of each server"),
        movesBytes: 0,
        wayBack: "the settings from before, by the same way",
        noReturn: null,
      },
    ],
  ];
}

function up(stage: number, facts: MoveFacts): (readonly [StepId, Plain])[] {
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
  const home: readonly [StepId, Plain] = [
    "home",
    {
      title: "home",
      does: "the first server takes the writes, where another one has them",
      clients: "writes pause",
      pause: measured(MEASURED.switchoverSeconds, "a switchover with the pools held, where one is needed"),
      duration: measured(MEASURED.switchoverSeconds + 3, "a switchover"),
      movesBytes: 0,
      wayBack: NONE,
      noReturn: null,
    },
  ];
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
    home,
    leave,
    ...(stage === 1 ? [] : restartStep(stage, facts)),
    verify(),
    discard,
    finish(stage),
  ];
}

/** Stages that a move passes through, in order. */
export function legsOf(from: number, to: number): number[] {
  const direction = Math.sign(to - from);
  return Array.from({ length: Math.abs(to - from) }, (_, index) => from + direction * (index + 1));
}

/** The ordered steps of a move between stages 1 to 3 in Docker. */
export function planMove(from: number, to: number, facts: MoveFacts): PlannedStep[] {
  return legsOf(from, to).flatMap((stage) =>
    (stage > from ? up(stage, facts) : down(stage, facts)).map(([id, step]) => ({ id: `${stage}:${id}`, ...step })),
  );
}
