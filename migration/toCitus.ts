/** The steps of a move to a Citus cluster, from one database or from shards, as plain data. */
import {
  MEASURED,
  type MoveFacts,
  NONE,
  type Plain,
  type StepId,
  commonHead,
  finish,
  measured,
  quiet,
  restartStep,
} from "./moveSteps.ts";

/** What `leave` means; asked before it begins. */
export const LEFT = "what clients write from then on is in the Citus cluster alone, and the servers before go";

/** A Citus cluster takes rows by COPY at this rate, with its indexes; measured on two cores that do all of it. */
const FILL_BYTES_PER_SECOND = 12 * 1024 * 1024;

/** From stage 3 or 4, beside whose servers the new cluster is made. */
export function toCitus(facts: MoveFacts): (readonly [StepId, Plain])[] {
  const { citus, databaseBytes } = facts;
  if (!citus) throw new Error("a move to a Citus cluster needs its workers");
  const nodes = 1 + citus.workers;
  const moving = (title: string, does: string, rate: number, what: string, wayBack: string): Plain => ({
    ...quiet(title, does, 0, wayBack),
    duration: {
      seconds: MEASURED.startServerSeconds + databaseBytes / rate,
      basis: `${databaseBytes} bytes at ${rate} a second, ${what}`,
    },
    movesBytes: databaseBytes,
  });
  return [
    ...commonHead(),
    [
      "extend",
      quiet(
        "extend",
        `a Citus cluster beside the servers that run, which stay as they are: a coordinator and ${citus.workers} workers, ${1 + citus.replicas} servers each`,
        nodes * MEASURED.upSeconds,
        "it goes again",
      ),
    ],
    ["replicas", quiet("replicas", "every node of it in step", MEASURED.startServerSeconds, NONE)],
    ...restartStep(5, facts),
    ["tables", quiet("tables", "its tables, distributed as the guide says, empty", 10, "they go with the cluster")],
    [
      "copy",
      moving(
        "copy",
        "every row is copied into a staging database on its nodes, and changes are followed",
        MEASURED.copyBytesPerSecond,
        "measured on two cores",
        "it is emptied again",
      ),
    ],
    [
      "fill",
      moving(
        "fill",
        "staging is copied into Citus' tables, and every change goes on into them",
        FILL_BYTES_PER_SECOND,
        "measured on two cores",
        "it is emptied again",
      ),
    ],
    [
      "verify",
      {
        ...quiet("verify", "rows and a checksum of each table, staged and in the Citus cluster, the same", 0, NONE),
        duration: {
          seconds: 3 + (2 * databaseBytes) / MEASURED.copyBytesPerSecond,
          basis: "every row read on both sides, an estimate",
        },
      },
    ],
    [
      "switch",
      {
        ...quiet(
          "switch",
          "the application's pools lead to the coordinator; the databases before can only be read, by clients without a pool until `leave`",
          5,
          "the pools lead back, with what was written since",
        ),
        clients: "writes pause",
        pause: measured(1.5, "the pools are held while what was written last arrives; direct clients reconnect"),
      },
    ],
    [
      "recheck",
      {
        ...quiet("recheck", "rows and a checksum of each table, before and staged, the same", 0, NONE),
        duration: {
          seconds: 3 + (2 * databaseBytes) / MEASURED.copyBytesPerSecond,
          basis: "every row read on both sides, an estimate",
        },
      },
    ],
    [
      "follow",
      quiet(
        "follow",
        "what is staged goes; the databases before follow the Citus cluster, so that they can be gone back to",
        5,
        "it ends",
      ),
    ],
    [
      "leave",
      {
        ...quiet(
          "leave",
          "the servers before, what backed them up, and the cache go; their data volumes and backups stay in Docker until you remove them",
          4 * MEASURED.upSeconds,
          "none",
        ),
        clients: "reconnect",
        pause: measured(1, "clients without a pool reconnect"),
        noReturn: LEFT,
      },
    ],
    finish(5),
  ];
}
