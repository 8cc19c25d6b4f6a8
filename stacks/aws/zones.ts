/** Availability zones by name. */

/** Zones over which servers are spread. */
export const ZONES = 3;

/** Regions whose zones are not called a, b, c, … (Amazon EC2 User Guide, "Regions and zones"). */
const LETTERS: Readonly<Record<string, string>> = {
  // The second is closed to accounts that did not have it before.
  "ap-northeast-1": "acd",
  "ca-central-1": "abd",
};

/** So many zones of a region, in their order: `eu-west-1a`, … */
export const zonesOf = (region: string, count: number): string[] =>
  Array.from((LETTERS[region] ?? "abcdef").slice(0, count), (letter) => `${region}${letter}`);

/** Regions in which newer accounts find fewer zones than that (the same guide): too few for three members of etcd. */
export const FEW_ZONES: readonly string[] = ["us-west-1"];
