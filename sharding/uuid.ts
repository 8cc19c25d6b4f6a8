/** UUIDs: their words, and new ones that sort by time. */
import { randomUUID } from "node:crypto";

const CANONICAL = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Eight hex digits as a 32-bit integer, their first byte the lowest. */
function littleEndian(hex: string): number {
  const word = Number.parseInt(hex, 16);
  return (word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24);
}

/**
 * A UUID in its usual form (36 characters, any case) as four 32-bit integers, as PostgreSQL's hash reads its 16 bytes.
 * Throws a TypeError for anything else.
 */
export function uuidWords(uuid: string): [number, number, number, number] {
  if (!CANONICAL.test(uuid))
    throw new TypeError(`"${uuid}" is not a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057`);
  return [
    littleEndian(uuid.slice(0, 8)),
    littleEndian(uuid.slice(9, 13) + uuid.slice(14, 18)),
    littleEndian(uuid.slice(19, 23) + uuid.slice(24, 28)),
    littleEndian(uuid.slice(28)),
  ];
}

/**
 * A UUID of version 7 (RFC 9562): 48 bits of milliseconds since 1970, then 74 random bits. Ids of one table so grow at the
 * right end of its index, whoever makes them; schema/sharding has the same as SQL's `uuidv7()`.
 */
export function uuidv7(atMs = Date.now()): string {
  const time = atMs.toString(16).padStart(12, "0");
  // The random bits of version 4, with its variant.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}
