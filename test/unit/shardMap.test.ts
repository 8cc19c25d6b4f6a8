import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ROOT } from "../../scripts/lib/paths.ts";
import { bucketOf, checkBuckets, uuidHashExtended } from "../../sharding/placement.ts";
import {
  assignmentOf,
  checkAssignment,
  classesOf,
  firstAssignment,
  movesBetween,
  rebalance,
  shardsOf,
} from "../../sharding/shardMap.ts";
import { uuidWords, uuidv7 } from "../../sharding/uuid.ts";

const upTo = (count: number): number[] => Array.from({ length: count }, (_, shard) => shard);
const count = (shards: readonly number[], shard: number): number => shards.filter((one) => one === shard).length;
const buckets = fc.integer({ min: 0, max: 11 }).map((bits) => 2 ** bits);

interface Vector {
  readonly id: string;
  readonly hash: string;
  readonly of256: number;
  readonly of2048: number;
}
const VECTORS = JSON.parse(readFileSync(join(ROOT, "test/support/placementVectors.json"), "utf8")) as Vector[];

describe("placement", () => {
  it("gives PostgreSQL's hash and bucket of ids (recorded from PostgreSQL)", () => {
    for (const { id, hash, of256, of2048 } of VECTORS) {
      expect(uuidHashExtended(id, 8816678312871386365n), id).toBe(BigInt(hash));
      expect([bucketOf(id, 256), bucketOf(id, 2048), bucketOf(id, 1)], id).toEqual([of256, of2048, 0]);
      expect(bucketOf(id.toUpperCase(), 256)).toBe(of256);
    }
  });

  it("has the buckets of a smaller number in their low bits, as hash partitions have", () => {
    fc.assert(
      fc.property(fc.uuid(), fc.integer({ min: 0, max: 11 }), (id, bits) => {
        expect(bucketOf(id, 2 ** bits)).toBe(bucketOf(id, 2048) % 2 ** bits);
      }),
    );
  });

  it("refuses what is no UUID, and numbers of buckets that are no power of two up to 2048", () => {
    for (const id of ["", "1", "0189{0a5d-ac96-774b-bcce-b302099a8057", "01890a5dac96774bbcceb302099a8057"]) {
      expect(() => bucketOf(id, 256), id).toThrow("is not a UUID");
    }
    for (const wrong of [0, -1, 3, 3.5, 255, 4096, NaN]) {
      expect(() => checkBuckets(wrong), String(wrong)).toThrow("not a power of two from 1 to 2048");
    }
    for (const right of [1, 2, 256, 2048]) expect(() => checkBuckets(right)).not.toThrow();
  });

  it("spreads a million random ids so that no shard of four or five has more than 1.1 times the mean", () => {
    const ids = 1_000_000;
    const perBucket = Array<number>(256).fill(0);
    for (let i = 0; i < ids; i++) {
      const bucket = bucketOf(randomUUID(), 256);
      perBucket[bucket] = (perBucket[bucket] ?? 0) + 1;
    }
    for (const shards of [4, 5, 8]) {
      const assignment = firstAssignment(256, shards);
      const rows = upTo(shards).map((shard) =>
        perBucket.reduce((sum, n, bucket) => sum + (assignment[bucket] === shard ? n : 0), 0),
      );
      expect(Math.max(...rows) / (ids / shards), `${shards} shards`).toBeLessThanOrEqual(1.1);
    }
  }, 180_000);
});

describe("the Elixir module of docs/sharding.md", () => {
  it("has the same arithmetic, as far as its lines say it", () => {
    const doc = readFileSync(join(ROOT, "docs/sharding.md"), "utf8");
    /** The body of one of its functions in JavaScript: tuples are arrays, the last line is the result. */
    const body = (name: string): string => {
      const lines = (new RegExp(`defp ${name}\\(.*\\) do\\n([^]*?)\\n {2}end`).exec(doc)?.[1] ?? "").trim().split("\n");
      const js = lines.map((line) => line.trim().replaceAll("{", "[").replaceAll("}", "]").replaceAll(/(\d)_/g, "$1"));
      return js.map((line, i) => (i === js.length - 1 ? `return ${line};` : `${line};`)).join("\n");
    };
    const prelude = `const add = (x, y) => (x + y) >>> 0, sub = (x, y) => (x - y) >>> 0, bxor = (x, y) => (x ^ y) >>> 0;
      const rot = (x, n) => ((x << n) | (x >>> (32 - n))) >>> 0;
      const mix = (...of) => { let [a, b, c] = of; ${body("mix")} };
      const final = (a, b, c) => { ${body("final")} };
      let start, a, b, c; ${body("hash")}`;
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the page's own lines, translated
    const hash = new Function("w0", "w1", "w2", "w3", prelude) as (...words: number[]) => number;
    for (const { id, of256, of2048 } of VECTORS) {
      const low = hash(...uuidWords(id).map((word) => word >>> 0));
      expect([(low + 227) & 255, (low + 227) & 2047], id).toEqual([of256, of2048]);
    }
  });
});

describe("UUIDs of version 7", () => {
  it("have their time, version and variant, and sort by time", () => {
    const at = Date.UTC(2026, 0, 2);
    const id = uuidv7(at);
    expect(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16)).toBe(at);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(uuidv7(at) < uuidv7(at + 1)).toBe(true);
    expect(new Set(Array.from({ length: 1000 }, () => uuidv7(at))).size).toBe(1000);
  });
});

describe("the shard map", () => {
  it("gives each bucket one shard, as evenly as can be", () => {
    fc.assert(
      fc.property(buckets, fc.integer({ min: 1, max: 64 }), (of, wanted) => {
        const shards = Math.min(of, wanted);
        const assignment = firstAssignment(of, shards);
        expect(assignment).toHaveLength(of);
        expect(shardsOf(assignment)).toEqual(upTo(shards));
        for (const shard of upTo(shards)) {
          expect([Math.floor(of / shards), Math.ceil(of / shards)]).toContain(count(assignment, shard));
        }
      }),
    );
  });

  it("moves half of the buckets from four shards to eight, a fifth from four to five", () => {
    const four = firstAssignment(256, 4);
    expect(movesBetween(four, rebalance(four, upTo(8)))).toHaveLength(128);
    expect(movesBetween(four, rebalance(four, upTo(5)))).toHaveLength(51);
    expect(movesBetween(four, rebalance(four, upTo(4)))).toEqual([]);
  });

  it("grows and shrinks with the fewest moves there are", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 24 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, (history) => {
        let assignment = firstAssignment(256, 1);
        for (const shards of history) {
          const next = rebalance(assignment, upTo(shards));
          const moves = movesBetween(assignment, next);
          // No bucket moves to a shard that gives some away, and none that need not.
          const [givers, takers] = [moves.map(({ from }) => from), moves.map(({ to }) => to)];
          expect(takers.filter((shard) => givers.includes(shard))).toEqual([]);
          const kept = upTo(shards).map((shard) => count(assignment, shard));
          const least = Math.floor(256 / shards);
          const odd = 256 % shards;
          const quotas = [...kept]
            .sort((a, b) => b - a)
            .map((has, index) => Math.min(has, least + (index < odd ? 1 : 0)));
          expect(moves).toHaveLength(256 - quotas.reduce((sum, n) => sum + n, 0));
          assignment = next;
        }
      }),
    );
  });

  it("is covered by classes, few where it can be few", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 }), (history) => {
        const assignment = history.reduce((now, shards) => rebalance(now, upTo(shards)), firstAssignment(256, 1));
        const covered = classesOf(assignment).flatMap(({ shard, modulus, remainder }) =>
          upTo(256)
            .filter((bucket) => bucket % modulus === remainder)
            .map((bucket) => [bucket, shard] as const),
        );
        expect(covered.sort(([a], [b]) => a - b)).toEqual(assignment.map((shard, bucket) => [bucket, shard]));
      }),
    );
    expect(classesOf(firstAssignment(256, 4))).toHaveLength(4);
    expect(classesOf(rebalance(firstAssignment(256, 4), upTo(8)))).toHaveLength(8);
    expect(classesOf(rebalance(firstAssignment(256, 4), upTo(5))).length).toBeLessThanOrEqual(26);
  });

  it("refuses numbers of shards that cannot be", () => {
    for (const shards of [0, -1, 3.5, 257, NaN]) {
      expect(() => firstAssignment(256, shards), String(shards)).toThrow("a whole number of shards from 1 to 256");
    }
    expect(() => rebalance(firstAssignment(256, 2), [0, 0])).toThrow("stands twice");
  });

  it("refuses a bucket without a shard, or with two, by its number", () => {
    const holed: (number | undefined)[] = firstAssignment(8, 2);
    holed[5] = undefined;
    expect(() => checkAssignment(holed)).toThrow("bucket 5 has no shard");
    const gap: number[] = [0, 1];
    gap[3] = 0;
    expect(() => checkAssignment(gap)).toThrow("bucket 2 has no shard");
    expect(() => checkAssignment([0, -1])).toThrow("bucket 1 is given to shard -1");
    const owned = (...of: number[][]) => new Map(of.map((own, shard) => [shard, own]));
    expect(assignmentOf(owned([0, 2], [1, 3]), 4)).toEqual([0, 1, 0, 1]);
    expect(() => assignmentOf(owned([0, 2], [1]), 4)).toThrow("bucket 3 has no shard");
    expect(() => assignmentOf(owned([0, 2], [1, 2, 3]), 4)).toThrow("bucket 2 has two shards, 0 and 1");
    expect(() => assignmentOf(owned([4]), 4)).toThrow("shard 0 owns bucket 4");
    expect(() => movesBetween(firstAssignment(4, 2), firstAssignment(8, 2))).toThrow("4 and 8 buckets");
  });
});
