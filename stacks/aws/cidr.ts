/** Ranges of IPv4 addresses, as `10.20.0.0/16`. */
import { UserError } from "../../tuning/errors.ts";

interface Range {
  readonly first: number;
  readonly size: number;
}

function parse(cidr: string): (Range & { readonly bits: number }) | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(cidr);
  if (!match) return undefined;
  const [a = 0, b = 0, c = 0, d = 0, bits = 0] = match.slice(1).map(Number);
  if ([a, b, c, d].some((part) => part > 255) || bits > 32) return undefined;
  const size = 2 ** (32 - bits);
  const first = ((a * 256 + b) * 256 + c) * 256 + d;
  return first % size === 0 ? { first, size, bits } : undefined;
}

const text = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");

/** Gives a range back as it is. Throws a UserError where it is none, or larger or smaller than allowed. */
export function checkCidr(key: string, cidr: string, largest: number, smallest: number): string {
  const range = parse(cidr);
  if (!range || range.bits < largest || range.bits > smallest) {
    throw new UserError(
      `cgraph:${key} has "${cidr}", which is not a range of addresses from /${largest} to /${smallest}`,
      "write its first address and its size, such as 10.20.0.0/16",
    );
  }
  return cidr;
}

/** Throws a UserError where two ranges share an address: nothing could be routed between them. */
export function checkNoOverlap(cidrs: readonly string[]): void {
  for (const [index, one] of cidrs.entries()) {
    for (const other of cidrs.slice(index + 1)) {
      const [a, b] = [parse(one), parse(other)];
      if (a && b && a.first < b.first + b.size && b.first < a.first + a.size) {
        throw new UserError(
          `the address ranges ${one} and ${other} overlap: nothing could be routed between them`,
          "give the stack's VPC another range: pulumi config set cgraph:vpcCidr 10.30.0.0/16",
        );
      }
    }
  }
}

/** The first `count` of the equal parts into which a range is cut by `bits` more bits. */
export function subnetCidrs(cidr: string, bits: number, count: number): string[] {
  const range = parse(cidr);
  if (!range || count > 2 ** bits) throw new Error(`${cidr} cannot be cut into ${count} parts by ${bits} bits`);
  const size = range.size / 2 ** bits;
  return Array.from({ length: count }, (_, index) => `${text(range.first + index * size)}/${range.bits + bits}`);
}

/** The address so far from a range's first; undefined where that is its last one, or beyond. */
export function addressIn(cidr: string, index: number): string | undefined {
  const range = parse(cidr);
  if (!range) throw new Error(`${cidr} is no range of addresses`);
  return index < range.size - 1 ? text(range.first + index) : undefined;
}

/** Addresses that nobody has on the internet (RFC 1918). */
const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/**
 * The range of the same size that is so many ranges further on, within the same private range, past whose end its
 * beginning follows. Throws a UserError where the range is in none.
 */
export function cidrBeside(cidr: string, distance: number): string {
  const range = parse(cidr);
  const around = PRIVATE.map(parse).find(
    (one) => one && range && range.first >= one.first && range.first + range.size <= one.first + one.size,
  );
  if (!range || !around) {
    throw new UserError(
      `cgraph:vpcCidr is ${cidr}, in none of the private ranges ${PRIVATE.join(", ")}: there are no addresses beside it for other regions`,
      "give the stack's VPC another range: ./cgraph-db config set vpcCidr 10.20.0.0/16",
    );
  }
  const offset = (range.first - around.first + distance * range.size) % around.size;
  return `${text(around.first + offset)}/${range.bits}`;
}
