/** The steps of a move from one database to shards, as plain data. */
import {
  MEASURED,
  type MoveFacts,
  type Plain,
  NONE,
  type StepId,
  commonHead,
  finish,
  home,
  measured,
  quiet,
  restartStep,
} from "./moveSteps.ts";
import { planReshard } from "./reshard.ts";
import { firstAssignment } from "../sharding/shardMap.ts";

const BUCKET_STEPS = ["copy", "verify", "handover", "clear"] as const;
const isBucketStep = (id: string): id is (typeof BUCKET_STEPS)[number] =>
  (BUCKET_STEPS as readonly string[]).includes(id);

/** Steps with the bytes and the buckets of a move from one shard, which has everything, to as many as there will be. */
export function toShards(facts: MoveFacts): (readonly [StepId, Plain])[] {
  const { sharding, databaseBytes } = facts;
  if (!sharding) throw new Error("a move to shards needs their number");
  const { shards, buckets, replicas } = sharding;
  const bucketSteps = planReshard({
    before: Array<number>(buckets).fill(0),
    after: firstAssignment(buckets, shards),
    shards: { now: shards, then: shards },
    databaseBytes,
  });
  return [
    ...commonHead(),
    home(),
    [
      "extend",
      quiet(
        "extend",
        `a global database, ${shards - 1} more shards of ${1 + replicas} servers, and pools for each; the application's pools lead to the first shard as before`,
        shards * MEASURED.upSeconds * 2,
        "they go again",
      ),
    ],
    ["replicas", quiet("replicas", "every server of every cluster in step", MEASURED.startServerSeconds, NONE)],
    ...restartStep(4, facts),
    [
      "tables",
      {
        ...quiet(
          "tables",
          "the first shard's tables get the shard key in their primary keys, lose foreign keys that would cross shards, and know their buckets",
          5,
          "keys and foreign keys as they were",
        ),
        duration: {
          seconds: 5 + facts.messagesBytes / MEASURED.convertBytesPerSecond / 4,
          basis: "an index for each primary key that changes, an estimate",
        },
      },
    ],
    [
      "global",
      quiet(
        "global",
        "the global database gets the global tables and the directory of names, and is kept up to date; the router database is made",
        10,
        "it is emptied again",
      ),
    ],
    [
      "switch",
      {
        ...quiet(
          "switch",
          "the application's pools lead to the router database; global tables are written in the global database",
          MEASURED.upSeconds,
          "the pools lead to the first shard again, with what was written since",
        ),
        clients: "writes pause",
        pause: measured(0.5, "the pools are held while what was written last arrives"),
      },
    ],
    ...bucketSteps.flatMap(({ id, ...step }): (readonly [StepId, Plain])[] => (isBucketStep(id) ? [[id, step]] : [])),
    finish(4),
  ];
}
