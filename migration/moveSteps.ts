/** What steps of moves are made of, and those that several moves have: plain data. */
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
  | "tables"
  | "global"
  | "switch"
  | "copy"
  | "handover"
  | "clear"
  | "fill"
  | "recheck"
  | "follow"
  | "leave"
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
  /** Shards and their replicas, where the move ends with shards. */
  readonly sharding?: { readonly shards: number; readonly buckets: number; readonly replicas: number };
  /** Workers of the Citus cluster and each node's standbys, where the move ends with one. */
  readonly citus?: { readonly workers: number; readonly replicas: number };
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

export const measured = (seconds: number, what: string): Estimate => ({
  seconds,
  basis: `${what}, measured on two cores`,
});
export const NONE = "nothing to take back";

export type Plain = Omit<PlannedStep, "id">;
export const quiet = (title: string, does: string, seconds: number, wayBack: string): Plain => ({
  ...{ title, does, clients: "nothing", pause: null, movesBytes: 0, wayBack, noReturn: null },
  duration: measured(seconds, "like before"),
});

export function commonHead(): (readonly [StepId, Plain])[] {
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

export const verify = (): readonly [StepId, Plain] => [
  "verify",
  quiet("verify", "the same database and schema as before, every replica in step, no slot left over", 3, NONE),
];
export const finish = (stage: number): readonly [StepId, Plain] => [
  "finish",
  quiet(
    "finish",
    `stage ${stage} in the configuration, schema changes and pg_partman go on`,
    1,
    "the stage from before",
  ),
];

export function replicasStep(count: number, facts: MoveFacts): readonly [StepId, Plain] {
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

export function restartStep(stage: number, facts: MoveFacts): (readonly [StepId, Plain])[] {
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

/** The first server stays in every stage. */
export const home = (): readonly [StepId, Plain] => [
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
