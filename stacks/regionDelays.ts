/** How far regions are from each other. Pure. */

/**
 * Round-trip times between AWS regions in milliseconds, roughly as public latency monitors show them. Each pair is named in the
 * order of its letters.
 */
const ROUND_TRIP_MS: Readonly<Record<string, number>> = {
  "ap-northeast-1 ap-southeast-1": 70,
  "ap-northeast-1 eu-central-1": 225,
  "ap-northeast-1 eu-west-1": 200,
  "ap-northeast-1 us-east-1": 150,
  "ap-northeast-1 us-west-2": 100,
  "ap-southeast-1 eu-central-1": 160,
  "ap-southeast-1 eu-west-1": 175,
  "ap-southeast-1 us-east-1": 220,
  "ap-southeast-1 us-west-2": 165,
  "eu-central-1 eu-west-1": 25,
  "eu-central-1 us-east-1": 92,
  "eu-central-1 us-west-2": 140,
  "eu-west-1 us-east-1": 68,
  "eu-west-1 us-west-2": 125,
  "us-east-1 us-west-2": 62,
};

/** For pairs that are not in the table: about half around the earth. */
const OTHERWISE_MS = 150;

/** Milliseconds from one region to another and back. */
export const roundTripMs = (from: string, to: string): number =>
  from === to ? 0 : (ROUND_TRIP_MS[[from, to].sort().join(" ")] ?? OTHERWISE_MS);
