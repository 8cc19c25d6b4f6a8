/** A move to or from stage 5 on AWS, and a change of the regions there. */
import { AWS, CONVERT_BYTES_PER_SECOND, MINUTE } from "./awsTimes.ts";
import { type AwsMove, NONE, planned, regionsOf, sizeOf } from "./awsSteps.ts";
import type { PlannedStep } from "./moveSteps.ts";

/** No server of the one is a server of the other. */
export function citusSteps(move: AwsMove): PlannedStep[] {
  const { from, to } = move;
  const { bytes, basis } = sizeOf(move);
  const elsewhere = regionsOf(to).filter((name) => !from?.citus || !regionsOf(from).includes(name));
  const here = from !== null && from.stage === to.stage;
  const copies =
    elsewhere.length === 0
      ? []
      : [`in ${elsewhere.join(" and ")} a network, connected, etcd, and a standby of every node, which copies home's`];
  const makes = here
    ? [...copies, "what has changed"]
    : to.citus
      ? [
          `etcd, a coordinator and ${to.citus.workers} workers on EC2, each with its standbys, one after the other`,
          "balancer, pool, cache, a bucket of backups",
          ...copies,
        ]
      : ["servers on RDS"];
  const beside =
    from === null || here ? "" : " --stack NAME, a stack of its own beside this one, which up refuses to turn into it";
  const up = planned(to.stage, "up", {
    title: "up",
    does: `./cgraph-db up --stage ${to.stage} --target aws${beside}: ${makes.join("; ")}`,
    ...(here && { movesBytes: bytes * elsewhere.length }),
    duration: {
      seconds: (60 + elsewhere.length * 40) * MINUTE,
      basis:
        "an estimate: ten minutes for each server that waits for another, three of etcd, two of the coordinator, two of each worker side by side; in each further region three of etcd, and all nodes side by side",
    },
    wayBack: "./cgraph-db down --delete-data of the new stack",
  });
  const schema = planned(to.stage, "schema", {
    title: "schema",
    does: "./cgraph-db schema apply: tables and indexes, distributed where there are workers",
    duration: { seconds: MINUTE, basis: "an empty database" },
    wayBack: NONE,
  });
  if (from === null || from.stage === to.stage) return [up, ...(from === null ? [schema] : [])];
  const hand = "docs/aws.md, Stage 5, has the commands; in this version none of ours does it on AWS";
  return [
    { ...up, id: `${to.stage}:new` },
    schema,
    planned(to.stage, "copy", {
      title: "data",
      does: `the rows of the old stack to the new one, while it is in use: one database by pgcopydb and logical replication, or so from each shard (${hand})`,
      duration: {
        seconds: MINUTE + bytes / CONVERT_BYTES_PER_SECOND,
        basis: `all of the data (${basis}), at 8 MiB a second as partitions are converted; an estimate`,
      },
      movesBytes: bytes,
      wayBack: "the new stack goes; the old one has not changed",
    }),
    planned(to.stage, "cutover", {
      title: "cutover",
      does: `counts of every table compared; the application's writes held, the last changes arrived, then its URLs changed (${hand})`,
      clients: "writes pause",
      pause: { seconds: 10 * MINUTE, basis: "by hand: the application's deployment; an estimate" },
      duration: { seconds: 10 * MINUTE, basis: "a deployment of the application" },
      noReturn: "what is written from then on is in the new stack only",
      wayBack: "rows that were written since, copied back by hand",
    }),
    planned(to.stage, "discard", {
      title: "discard",
      does: "./cgraph-db down of the old stack, weeks later: its databases are protected, and stay until somebody deletes them",
      duration: AWS.delete,
      wayBack: "its databases are kept",
    }),
  ];
}
