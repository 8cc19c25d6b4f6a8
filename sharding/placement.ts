/**
 * Which bucket a row belongs to: the remainder that PostgreSQL's own hash partitioning gives, so that partitions, SQL,
 * row filters of publications and this library agree on every id.
 */
import { UserError } from "../tuning/errors.ts";
import { uuidWords } from "./uuid.ts";

/** Virtual buckets of a new stack. */
export const DEFAULT_BUCKETS = 256;
/** Up to here the constant that PostgreSQL adds (see OFFSET) is the same for every modulus. */
export const MAX_BUCKETS = 2048;

/** HASH_PARTITION_SEED of PostgreSQL (src/backend/partitioning/partbounds.c), in both halves and as decimal. */
const SEED = { high: 0x7a5b2236, low: 0x7996dcfd, decimal: "8816678312871386365" } as const;
/** What hash_combine64 adds to the hash of a single column: the low bits of 0x49a0f4dd15e5a8e3. */
const OFFSET = 227;

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** PostgreSQL's hash_bytes_extended of a UUID: Jenkins' lookup3, the upper and the lower 32 bits of the result. */
function hashUuid(uuid: string, seedHigh: number, seedLow: number): { high: number; low: number } {
  const words = uuidWords(uuid);
  let a = (0x9e3779b9 + 16 + 3923095) | 0;
  let b = a;
  let c = a;
  const mix = (): void => {
    a = (a - c) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 4);
    b = (b + a) | 0;
  };
  if (seedHigh !== 0 || seedLow !== 0) {
    a = (a + seedHigh) | 0;
    b = (b + seedLow) | 0;
    mix();
  }
  a = (a + words[0]) | 0;
  b = (b + words[1]) | 0;
  c = (c + words[2]) | 0;
  mix();
  a = (a + words[3]) | 0;
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return { high: b >>> 0, low: c >>> 0 };
}

/** SQL's `uuid_hash_extended(uuid, seed)`: a signed 64-bit integer. */
export function uuidHashExtended(uuid: string, seed: bigint): bigint {
  const unsigned = BigInt.asUintN(64, seed);
  const { high, low } = hashUuid(uuid, Number(unsigned >> 32n), Number(unsigned & 0xffff_ffffn));
  return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
}

/** Refuses a number of buckets that is no power of two from 1 to 2048. Throws a UserError. */
export function checkBuckets(buckets: number): void {
  if (Number.isInteger(buckets) && buckets >= 1 && buckets <= MAX_BUCKETS && (buckets & (buckets - 1)) === 0) return;
  throw new UserError(
    `${buckets} buckets: that is not a power of two from 1 to ${MAX_BUCKETS}`,
    `use ${DEFAULT_BUCKETS}, unless you mean to have more than ${DEFAULT_BUCKETS / 10} shards`,
  );
}

/** The bucket (0 to buckets − 1) of an id; `buckets` must have passed `checkBuckets`. */
export function bucketOf(id: string, buckets: number): number {
  const { low } = hashUuid(id, SEED.high, SEED.low);
  return (low + OFFSET) & (buckets - 1);
}

/**
 * The same as SQL over a uuid column, of built-in functions only, which row filters of publications and CHECK
 * constraints of a partition accept. `column` is taken as it is: quote it where it needs to be.
 */
export const bucketSql = (column: string, buckets: number): string =>
  `(((uuid_hash_extended(${column}, ${SEED.decimal}) & ${buckets - 1}) + ${OFFSET}) & ${buckets - 1})`;
