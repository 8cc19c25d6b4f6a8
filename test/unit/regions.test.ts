import { describe, expect, it } from "vitest";
import { haproxyConf } from "../../components/docker/haproxyFiles.ts";
import { passages, placesOf, routedRegions, witnessPorts } from "../../components/docker/regionRoutes.ts";
import { formatToken, later, lsnNumber, parseToken } from "../../regions/token.ts";
import { requireSamePlaces } from "../../scripts/regions/leaving.ts";
import { planPromotion } from "../../scripts/regions/promote.ts";
import { troubleRemedy, troubleText, troublesOf } from "../../scripts/regions/reach.ts";
import { type RegionState, agreed, lacking, lostBytes } from "../../scripts/regions/states.ts";
import { readConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { roundTripMs } from "../../stacks/regionDelays.ts";
import { planTopology } from "../../stacks/topology.ts";

const REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-1"];
const config = (more: Readonly<Record<string, string>>) =>
  readConfig((key) => ({ stage: "2", regions: JSON.stringify(REGIONS), ...more })[key]);
const host = { cpus: 8, memoryMiB: 64_000 };

describe("cgraph:regions", () => {
  it("has home first, and the primary there unless it has been moved", () => {
    expect(config({}).regions).toEqual({
      ...{ all: REGIONS, others: REGIONS.slice(1), primary: "us-east-1", replicas: 1 },
    });
    expect(config({ primaryRegion: "eu-west-1" }).regions.primary).toBe("eu-west-1");
    expect(readConfig(() => undefined).regions.others).toEqual([]);
  });

  it.each([
    [{ regions: '["us-east-1", "eu-west-1", "us-east-1"]' }, "cgraph:regions names us-east-1 twice"],
    [{ regions: "eu-west-1" }, 'cgraph:regions is "eu-west-1", which is not JSON'],
    [{ regions: '["Mars!"]' }, 'cgraph:regions is "["Mars!"]", which is not a list of 1 to 7 regions'],
    [{ stage: "1" }, "cgraph:regions names 3 regions, but stage 1 is a single server"],
    [{ primaryRegion: "mars" }, "cgraph:primaryRegion is mars, which is none of the regions"],
    [{ regionReplicas: "9" }, 'cgraph:regionReplicas is "9", which is not a whole number from 1 to 5'],
  ])("refuses %j", (more, message) => {
    expect(() => config(more)).toThrow(message);
  });

  it("gives every region the servers of every cluster, as home's are, and ports of its own", () => {
    const topology = planTopology(
      config({ stage: "4", shards: "2", regionReplicas: "2", maxConnections: "200" }),
      host,
    );
    expect(topology.regions.map(({ name }) => name)).toEqual(REGIONS.slice(1));
    const [near, far] = topology.regions;
    expect(near?.clusters.map(({ name, nodes }) => [name, nodes.map((node) => node.name)])).toEqual([
      ["shard0", ["eu-west-1-pg0", "eu-west-1-pg1"]],
      ["global", ["eu-west-1-global-pg0", "eu-west-1-global-pg1"]],
      ["shard1", ["eu-west-1-shard1-pg0", "eu-west-1-shard1-pg1"]],
    ]);
    expect(near?.clusters[0]?.nodes[0]?.settings).toEqual(topology.nodes[0]?.settings);
    expect([near?.ports.write, far?.ports.write]).toEqual([7432, 7442]);
    expect(
      planTopology(
        readConfig((key) => ({ stage: "2" })[key]),
        host,
      ).regions,
    ).toEqual([]);
  });
});

describe("the ways between regions", () => {
  it("lead from each to each other, as far as they are apart", () => {
    const places = placesOf(REGIONS);
    const [home, near] = places;
    if (!home || !near) throw new Error("no places");
    const ways = passages("dev", near, places, 1, roundTripMs);
    expect(ways.filter(({ name }) => name.startsWith("us-east-1"))).toEqual([
      { name: "us-east-1-witness-client", port: 2400, upstream: "cgraph-dev-witness:2400", roundTripMs: 68 },
      { name: "us-east-1-witness-peer", port: 2420, upstream: "cgraph-dev-witness:2420", roundTripMs: 68 },
      { name: "us-east-1-write-0", port: 7000, upstream: "cgraph-dev-haproxy:5432", roundTripMs: 68 },
      { name: "us-east-1-primary-0", port: 7001, upstream: "cgraph-dev-haproxy:8410", roundTripMs: 68 },
    ]);
    expect(new Set(ways.map(({ port }) => port)).size).toBe(ways.length);
    expect(passages("dev", home, places, 1, roundTripMs)[4]?.upstream).toBe("cgraph-dev-ap-southeast-1-witness:2402");
  });

  it("have an odd number of witnesses: two regions get an arbiter, which has nothing else", () => {
    expect(placesOf(REGIONS).map(({ name }) => name)).toEqual(REGIONS);
    const places = placesOf(REGIONS.slice(0, 2));
    expect(places.map(({ name }) => name)).toEqual(["us-east-1", "eu-west-1", "arbiter"]);
    const [home, , arbiter] = places;
    if (!home || !arbiter) throw new Error("no places");
    expect(passages("dev", home, places, 3, roundTripMs).filter(({ name }) => name.startsWith("arbiter"))).toHaveLength(
      2,
    );
    expect(routedRegions(home, places, 1).others.map(({ name }) => name)).toEqual(["eu-west-1"]);
    expect(new Set(places.map((place) => witnessPorts(place).client)).size).toBe(3);
  });

  it("keep their ports when regions come and go, the arbiter's among them: witnesses know each other by these", () => {
    const portOf = (regions: readonly string[]) =>
      new Map(placesOf(regions).map((place) => [place.name, witnessPorts(place).peer]));
    const [two, three, four] = [portOf(REGIONS.slice(0, 2)), portOf(REGIONS), portOf([...REGIONS, "eu-central-1"])];
    expect(four.get("arbiter")).toBe(two.get("arbiter"));
    expect([...three.values()]).not.toContain(two.get("arbiter"));
    expect(() => requireSamePlaces(REGIONS, REGIONS.slice(0, 2))).not.toThrow();
    expect(() => requireSamePlaces(REGIONS.slice(0, 1), REGIONS)).not.toThrow();
    expect(() => requireSamePlaces(REGIONS, ["us-east-1", "ap-southeast-1"])).toThrow(
      "ap-southeast-1 would be region 2 and is region 3 of the stack",
    );
  });

  it("are taken by the router only while this region may not write", () => {
    const [home] = placesOf(REGIONS);
    if (!home) throw new Error("no home");
    const args = { nodes: ["pg0"], poolers: ["pgbouncer0"], maxReadLagBytes: 1, maxConnections: 10 };
    const text = haproxyConf({ ...args, regions: routedRegions(home, placesOf(REGIONS), 1) });
    expect(text).toContain(
      "use_backend primary if { nbsrv(guard) gt 0 } { nbsrv(primary) gt 0 }\n  default_backend elsewhere",
    );
    expect(text).toContain(
      "server eu-west-1 wan:7200 check port 7201\n  server ap-southeast-1 wan:7400 check port 7401",
    );
    expect(haproxyConf(args)).not.toMatch(/guard|elsewhere/);
  });
});

describe("a token of what was written", () => {
  it("keeps the later position of each database", () => {
    const both = later({ DATABASE: "9/FF", SHARD_0: "1/0" }, { DATABASE: "10/0", SHARD_1: "2/0" });
    expect(both).toEqual({ DATABASE: "10/0", SHARD_0: "1/0", SHARD_1: "2/0" });
    expect(later(both, { DATABASE: "A/0" })).toEqual(both);
    expect(parseToken(formatToken(both))).toEqual(both);
    expect(parseToken("")).toEqual({});
  });
  it.each(["DATABASE", "DATABASE:", "DATABASE:1/0'; DROP TABLE users", "a b:1/0"])("is not %j", (text) => {
    expect(() => parseToken(text)).toThrow(TypeError);
  });
  it("counts as PostgreSQL does", () => {
    expect([lsnNumber("0/10"), lsnNumber("1/0")]).toEqual([16n, 4294967296n]);
  });
});

describe("a promotion", () => {
  const cluster = (role: string, location: number, streams = true) => ({
    ...{ name: "", leader: "pg0", role, location, received: location, timeline: 1, streams },
  });
  const said = { region: "us-east-1", epoch: 1, before: null, at: "" };
  const state = (name: string, one: ReturnType<typeof cluster>, more: object = {}): RegionState => ({
    name,
    state: {
      ...{ region: name, primary: said, heardSeconds: 1, writable: one.role === "primary", givenUp: null },
      ...{ clusters: [one], ...more },
    },
  });
  const home = state("us-east-1", cluster("primary", 500));
  const near = state("eu-west-1", cluster("standby_leader", 400));
  const far = state("ap-southeast-1", cluster("standby_leader", 450));
  const values = {
    regions: { primary: "us-east-1", all: REGIONS.map((name) => ({ name, agent: name, clusters: [] })) },
  } as unknown as StackValues;
  const plan = (states: readonly RegionState[], region = "eu-west-1", force = false) =>
    planPromotion(values, states, region, force);

  it("of a region that follows a healthy one is a hand-over, and has to be forced", () => {
    expect(() => plan([home, near, far])).toThrow("us-east-1 is healthy and takes the writes");
    expect(plan([home, near, far], "eu-west-1", true)).toMatchObject({ planned: true });
  });
  it("takes over from one that has given up or does not answer, and says who would lose less", () => {
    const gone: RegionState = { name: "us-east-1", state: null };
    const ended = state("us-east-1", cluster("standby_leader", 500), { heardSeconds: 30, givenUp: { "": 500 } });
    for (const old of [gone, ended]) {
      expect(plan([old, near, far])).toMatchObject({
        planned: false,
        warnings: ["ap-southeast-1 has 50 B more of what us-east-1 wrote than eu-west-1"],
      });
    }
    expect(plan([ended, near, far]).givenUp).toEqual({ "": 500 });
  });
  it.each([
    ["us-east-1", [home, near, far], "the primary is in us-east-1 already"],
    ["mars", [home, near, far], "there is no region mars"],
    [
      "eu-west-1",
      [home, state("eu-west-1", cluster("standby_leader", 1), { heardSeconds: 60 }), far],
      "does not hear a majority",
    ],
    [
      "eu-west-1",
      [home, state("eu-west-1", cluster("replica", 1)), far],
      "has no server of the cluster that could take over",
    ],
  ])("to %s is refused where it cannot be", (region, states, message) => {
    expect(() => plan(states, region, true)).toThrow(message);
  });
  it("believes the majority that was heard last", () => {
    const moved = state("eu-west-1", cluster("primary", 600), { primary: { ...said, region: "eu-west-1", epoch: 2 } });
    const cut = state("us-east-1", cluster("standby_leader", 500), { heardSeconds: 100 });
    expect(agreed([cut, moved, far])?.region).toBe("eu-west-1");
    expect(lacking([cut, moved, far], "ap-southeast-1")).toBe(150);
    expect(agreed([cut])).toBeUndefined();
  });
  it("has lost what the old region had and the new one did not", () => {
    const at = (region: string, location: number | null) => ({ region, locations: { "": location }, at: "" });
    expect(lostBytes({ epoch: 2, promoted: at("eu-west-1", 400), fenced: at("us-east-1", 460) })).toBe(60);
    expect(lostBytes({ epoch: 2, promoted: at("eu-west-1", 400), fenced: at("us-east-1", 400) })).toBe(0);
    expect(lostBytes({ epoch: 2, promoted: at("eu-west-1", 400), fenced: null })).toBeNull();
  });
});

describe("regions that cannot do what a command needs", () => {
  const at = (name: string, more: object = {}): RegionState => ({
    name,
    state: {
      ...{ region: name, primary: { region: "us-east-1", epoch: 1, before: null, at: "" }, heardSeconds: 1 },
      ...{ writable: name === "us-east-1", givenUp: null, clusters: [], ...more },
    },
  });
  const [home, near, far] = REGIONS.map((name) => at(name));
  const said = (...states: (RegionState | undefined)[]) => {
    const troubles = troublesOf(
      states.filter((one) => one !== undefined),
      "us-east-1",
    );
    return [troubleText(troubles), troubleRemedy(troubles, REGIONS)];
  };

  it("are none where all hear each other and the primary's takes writes", () => {
    expect(said(home, near, far)[0]).toBeUndefined();
  });
  it("are told by name, with what brings them back", () => {
    expect(said(home, at("eu-west-1", { heardSeconds: 30 }), { name: "ap-southeast-1", state: null })).toEqual([
      "eu-west-1 is cut off from the others; ap-southeast-1 does not answer",
      "bring eu-west-1 and ap-southeast-1 back (./cgraph-db region list; one that was cut on purpose: region heal)",
    ]);
  });
  it("are told to be replaced where the primary's is lost and another one is well", () => {
    expect(said(at("us-east-1", { heardSeconds: 30, writable: false }), near, far)).toEqual([
      "us-east-1, which has the primary, is cut off from the others",
      "bring us-east-1 back (./cgraph-db region list; one that was cut on purpose: region heal), or move the primary: ./cgraph-db region promote eu-west-1",
    ]);
    expect(said(at("us-east-1", { writable: false }), near, far)[0]).toBe(
      "us-east-1, which has the primary, takes no writes",
    );
  });
});
