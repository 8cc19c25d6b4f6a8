import { describe, expect, it } from "vitest";
import { planReshard } from "../../migration/reshard.ts";
import { wishOf } from "../../scripts/commands/reshard.ts";
import { bucketsFilterSql, forwardOf, publicationSql } from "../../sharding/moveSql.ts";
import { coverOf, pairsOf, roundsOf } from "../../sharding/pairs.ts";
import { bucketOf } from "../../sharding/placement.ts";
import { firstAssignment, movesBetween, rebalance } from "../../sharding/shardMap.ts";
import { uuidv7 } from "../../sharding/uuid.ts";

const BUCKETS = 256;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, shard) => shard);
const moves = (from: number, to: number) => {
  const before = firstAssignment(BUCKETS, from);
  return movesBetween(before, rebalance(before, upTo(to)));
};

describe("pairs of shards", () => {
  it("have every bucket that moves once", () => {
    for (const [from, to] of [
      [1, 4],
      [4, 8],
      [4, 5],
      [5, 3],
    ] as const) {
      const all = moves(from, to);
      const pairs = pairsOf(all);
      expect(pairs.flatMap(({ buckets }) => buckets).sort((a, b) => a - b)).toEqual(all.map(({ bucket }) => bucket));
      for (const pair of pairs) {
        expect(all.filter(({ from, to }) => from === pair.from && to === pair.to)).toHaveLength(pair.buckets.length);
      }
    }
  });

  it("are worked on in rounds, in which each shard gives once and takes once", () => {
    expect(roundsOf(pairsOf(moves(1, 4))).map((round) => round.length)).toEqual([1, 1, 1]);
    expect(roundsOf(pairsOf(moves(4, 8))).map((round) => round.length)).toEqual([4]);
    expect(roundsOf(pairsOf(moves(4, 5))).map((round) => round.length)).toEqual([1, 1, 1, 1]);
  });
});

describe("filters of buckets", () => {
  it("are few conditions, which say of each id what its bucket says", () => {
    for (const { buckets } of pairsOf(moves(4, 8))) expect(coverOf(buckets, BUCKETS)).toHaveLength(1);
    for (const pair of pairsOf(moves(4, 5))) {
      const cover = coverOf(pair.buckets, BUCKETS);
      expect(cover.length).toBeLessThanOrEqual(6);
      for (let i = 0; i < 1000; i++) {
        const bucket = bucketOf(uuidv7(), BUCKETS);
        const inside = cover.some(({ modulus, remainder }) => bucket % modulus === remainder);
        expect(inside).toBe(pair.buckets.includes(bucket));
      }
    }
  });

  it("stand in the publication of every sharded table, and of no global one", () => {
    const sql = publicationSql(forwardOf({ from: 0, to: 1, buckets: [1, 3] }), 4);
    expect(sql).toContain(`public.messages WHERE (${bucketsFilterSql("sender_id", [1, 3], 4)})`);
    expect(sql).not.toContain("settings");
    expect(sql).toContain("publish = 'insert, update, delete'");
  });
});

describe("the plan", () => {
  const before = firstAssignment(BUCKETS, 4);
  const plan = (count: number) =>
    planReshard({
      ...{ before, after: rebalance(before, upTo(count)) },
      shards: { now: 4, then: Math.max(4, count) },
      databaseBytes: 1024 ** 3,
    });

  it("copies what moves and nothing else", () => {
    const bytes = (count: number): number | undefined => plan(count).find(({ id }) => id === "copy")?.movesBytes;
    expect(bytes(8)).toBe(1024 ** 3 / 2);
    expect((bytes(5) ?? 0) / 1024 ** 3).toBeCloseTo(0.2, 2);
  });

  it("names its steps, the new shards only where there are some, and one point of no return", () => {
    const ids = ["check", "extend", "freeze", "copy", "verify", "handover", "clear", "finish"];
    expect(plan(8).map(({ id }) => id)).toEqual(ids);
    expect(plan(3).map(({ id }) => id)).toEqual(ids.filter((id) => id !== "extend"));
    expect(
      plan(8)
        .filter(({ noReturn }) => noReturn !== null)
        .map(({ id }) => id),
    ).toEqual(["clear"]);
  });
});

describe("a wish", () => {
  const before = firstAssignment(BUCKETS, 2);
  const wish = (flags: Parameters<typeof wishOf>[0]) => wishOf(flags, before, 2);

  it("of more shards spreads the buckets over them; of fewer empties the others and leaves them", () => {
    const counts = ({ after }: { after: readonly number[] }) =>
      [0, 1, 2].map((n) => after.filter((of) => of === n).length);
    expect(counts(wish({ shards: "3" }))).toEqual([86, 85, 85]);
    expect(wish({ shards: "3" }).shards).toBe(3);
    expect(counts(wish({ shards: "1" }))).toEqual([256, 0, 0]);
    expect(wish({ shards: "1" }).shards).toBe(2);
    expect(wish({}).after).toEqual(before);
  });

  it("of some buckets moves these and no others", () => {
    const { after, shards } = wish({ moveBucket: ["0", "2"], to: "1" });
    expect(movesBetween(before, after).map(({ bucket }) => bucket)).toEqual([0, 2].filter((n) => before[n] !== 1));
    expect(shards).toBe(2);
  });

  it("that cannot be is refused in words", () => {
    for (const [flags, words] of [
      [{ shards: "0" }, "0 shards: 256 buckets can be given to"],
      [{ shards: "3.5" }, "3.5 shards: 256 buckets can be given to"],
      [{ shards: "257" }, "257 shards: 256 buckets can be given to"],
      [{ shards: "many" }, "NaN shards"],
      [{ moveBucket: ["256"], to: "1" }, "there is no bucket 256"],
      [{ moveBucket: ["-1"], to: "1" }, "-1 is no bucket"],
      [{ moveBucket: ["1"], to: "2" }, "there is no shard 2"],
      [{ moveBucket: ["1"] }, "to which shard?"],
      [{ moveBucket: ["1"], to: "1", shards: "3" }, "do not go together"],
      [{ to: "1" }, "--to needs --move-bucket"],
    ] as const) {
      expect(() => wish(flags)).toThrow(words);
    }
  });
});
