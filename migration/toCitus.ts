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
} from "./moveSteps.ts";

/** What `switch` means; asked before it begins. */
export const SWITCHED =
  "clients write to the Citus cluster from then on, and nothing of that comes back to the databases before";

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
        ...quiet("switch", "the application's pools lead to the coordinator", 5, "none"),
        clients: "writes pause",
        pause: measured(1.5, "the pools are held while what was written last arrives; direct clients reconnect"),
        noReturn: SWITCHED,
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
      },
    ],
    finish(5),
  ];
}
