import type pg from "pg";
import { describe, expect, it } from "vitest";
import { citusHbaRules, citusRegionRules } from "../../components/docker/citusFiles.ts";
import { nodeNames } from "../../components/docker/citusNames.ts";
import { haproxyConf, nodeConf } from "../../components/docker/haproxyFiles.ts";
import { clusterConfig, patroniYaml } from "../../components/docker/patroniFiles.ts";
import { placesOf, routedRegions } from "../../components/docker/regionRoutes.ts";
import { regionScope } from "../../components/docker/shardRoutes.ts";
import { CGRAPH_PROBE, CitusNodes, type Position, haveAll, tokenOf } from "../../regions/CitusNodes.ts";
import { formatToken, later, parseToken } from "../../regions/token.ts";
import { requirePrimaryAtHome } from "../../scripts/citus/coordinator.ts";
import { isPrimaryAtHome } from "../../scripts/regions/reach.ts";
import { readConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { planTopology } from "../../stacks/topology.ts";

const REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-1"];
const config = (more: Readonly<Record<string, string>> = {}) =>
  readConfig((key) => ({ stage: "5", workers: "2", regions: JSON.stringify(REGIONS), ...more })[key]);
const host = { cpus: 8, memoryMiB: 64_000 };

describe("a Citus cluster's regions", () => {
  it("have a standby of every node, as home's are, under names that begin with the region's", () => {
    const { nodes, regions, citus } = planTopology(config(), host);
    expect(regions.map(({ name }) => name)).toEqual(REGIONS.slice(1));
    expect(regions[0]?.clusters.map(({ name, nodes: its }) => [name, its.map((node) => node.name)])).toEqual([
      ["coordinator", ["eu-west-1-coordinator-pg0"]],
      ["worker1", ["eu-west-1-worker1-pg0"]],
      ["worker2", ["eu-west-1-worker2-pg0"]],
    ]);
    expect(regions[0]?.clusters[1]?.nodes[0]?.settings).toEqual(nodes[0]?.settings);
    expect(citus?.others.map(({ name }) => name)).toEqual(["worker1", "worker2"]);
    const many = planTopology(config({ regionReplicas: "2" }), host).regions[1]?.clusters[0]?.nodes;
    expect(many?.map(({ name }) => name)).toEqual(["ap-southeast-1-coordinator-pg0", "ap-southeast-1-coordinator-pg1"]);
    expect(regionScope("dev", "worker1", 1, "eu-west-1")).toBe("dev-worker1-1-eu-west-1");
  });

  it("are one unless somebody names more: each takes as many servers again", () => {
    expect(
      planTopology(
        readConfig((key) => ({ stage: "5", workers: "2" })[key]),
        host,
      ).regions,
    ).toEqual([]);
  });

  it("call a region's node by every name that a server of home may give it", () => {
    const most = planTopology(config({ replicas: "15", regions: '["us-east-1"]' }), { cpus: 8, memoryMiB: 999_000 });
    expect(most.nodes.map(({ name }) => name)).toEqual(nodeNames("coordinator"));
    expect(most.citus?.others[1]?.nodes.map(({ name }) => name)).toEqual(nodeNames("worker2"));
  });

  it("let in their own nodes by certificate, home's in no other region, and clients by the region's router", () => {
    const { hba, ident } = citusRegionRules("dev", "eu-west-1");
    const named = /^cgraph_nodes {2}\/(\S+) {2}all$/.exec(ident[0] ?? "")?.[1] ?? "";
    const isNode = (name: string): boolean => new RegExp(named).test(name);
    expect(isNode("eu-west-1-worker12-pg0")).toBe(true);
    for (const other of ["worker1-pg0", "ap-southeast-1-worker1-pg0", "eu-west-1-region-agent", "eu-west-1-pg0"]) {
      expect([other, isNode(other)]).toEqual([other, false]);
    }
    expect(hba.find((rule) => rule.includes("haproxy"))).toMatch(
      /cgraph-dev-eu-west-1-haproxy\.cgraph-dev-eu-west-1 {2}scram-sha-256$/,
    );
    expect(hba.filter((rule) => rule.includes("cert map"))).toEqual(
      citusHbaRules("dev", []).filter((rule) => rule.includes("cert map")),
    );
  });

  it("have nodes that Patroni takes for plain ones, and that reach themselves by their socket", () => {
    const rules = citusRegionRules("dev", "eu-west-1");
    const args = { settings: {}, synchronous: "off", slots: {}, rules } as const;
    const cluster = clusterConfig({ ...args, standsForNode: true });
    expect(cluster).toMatchObject({
      postgresql: { parameters: { "citus.local_hostname": "/run/postgresql" }, pg_ident: rules.ident },
    });
    expect(JSON.stringify(clusterConfig(args))).not.toContain("citus.local_hostname");
    const login = { username: "x", password: "y" };
    const yaml = patroniYaml({
      ...{ scope: "dev-worker1-1-eu-west-1", node: "eu-west-1-worker1-pg0", etcdMembers: ["etcd0"] },
      ...{ postgresVersion: 17, replication: login, rewind: login, bootstrap: undefined, regional: true, cluster },
    });
    expect(yaml).not.toMatch(/^citus:/m);
  });

  it("lead a node's names to the server that leads it there, and to any while there is none", () => {
    const text = nodeConf(["eu-west-1-worker1-pg0", "eu-west-1-worker1-pg1"], 100);
    expect(text).toContain("use_backend leader if { nbsrv(leader) gt 0 }\n  default_backend local");
    expect(text).toMatch(/backend leader[\s\S]*GET \/leader HTTP[\s\S]*verifyhost eu-west-1-worker1-pg1\n/);
  });

  it("keep the ways to the coordinator that pools of a stack which has moved there have", () => {
    const [home] = placesOf(REGIONS);
    if (!home) throw new Error("no home");
    const text = haproxyConf({
      ...{ nodes: ["coordinator-pg0"], poolers: ["pgbouncer0"], alias: { write: 5438, read: 5439 } },
      ...{ clusters: [{ name: "worker1", nodes: ["worker1-pg0"] }], maxReadLagBytes: 1, maxConnections: 10 },
      regions: routedRegions(home, placesOf(REGIONS), 2),
    });
    expect(text).toContain("frontend write\n  bind :5432\n  bind :5438\n");
    expect(text).toContain("frontend read\n  bind :5433\n  bind :5439\n");
  });
});

describe("workers", () => {
  const values = (primary: string | undefined) =>
    ({
      regions: primary === undefined ? null : { primary, all: REGIONS.map((name) => ({ name })) },
    }) as unknown as StackValues;

  it("come and go while the primary is at home, whose Patroni tells Citus of them", () => {
    for (const at of [undefined, "us-east-1"]) {
      expect(isPrimaryAtHome(values(at))).toBe(true);
      expect(() => requirePrimaryAtHome(values(at))).not.toThrow();
    }
    expect(() => requirePrimaryAtHome(values("eu-west-1"))).toThrow("the primary is in eu-west-1, and workers come");
  });
});

describe("a token of what was written to a Citus cluster", () => {
  const at = (node: string, position: string | null): Position => ({ node, at: position });
  const token = tokenOf("DATABASE", [at("1", "0/20"), at("77", "0/30"), at("78", "1/0")]);

  it("has a position for each node, and travels as any", () => {
    expect(token).toEqual({ DATABASE: "0/20", "DATABASE.77": "0/30", "DATABASE.78": "1/0" });
    expect(parseToken(formatToken(token))).toEqual(token);
    expect(later(token, { "DATABASE.77": "0/40", "DATABASE.78": "0/FF" })).toEqual({ ...token, "DATABASE.77": "0/40" });
    expect(() => parseToken("DATABASE.x:0/1")).toThrow(TypeError);
  });

  it("is kept by a region all of whose nodes have come as far", () => {
    const behind = [at("1", "0/20"), at("77", "0/2F"), at("78", "1/0")];
    expect(haveAll("DATABASE", token, [at("1", "0/20"), at("77", "0/31"), at("78", "2/0")])).toBe(true);
    expect(haveAll("DATABASE", token, behind)).toBe(false);
    // A primary has all that was written; a node that nobody asked may have nothing.
    expect(haveAll("DATABASE", token, [at("1", null), at("77", null), at("78", null)])).toBe(true);
    expect(haveAll("DATABASE", token, [at("1", "9/0"), at("77", "9/0")])).toBe(false);
    expect(haveAll("OTHER", token, behind)).toBe(true);
  });

  it("is asked of each node by a value that leads there, found once, and anew when shards have moved", async () => {
    const learned: string[] = [];
    let placement = "10";
    const client = {
      query: (sql: string) => {
        learned.push(sql);
        return Promise.resolve({ rows: [{ keys: ["k1", "k2"], placement }] });
      },
    } as unknown as pg.ClientBase;
    const nodes = new CitusNodes(CGRAPH_PROBE);
    const sql = await nodes.sql(client, "replayed");
    expect(sql.split("; ")).toHaveLength(3);
    expect(sql).toContain("FROM conversation_members WHERE user_id = 'k2'::uuid");
    const answer = (of: string) =>
      [[{ node: "1", at: "0/1", placement: of }], [{ node: "7", at: "0/2" }], [{ node: "8", at: "0/3" }]].map(
        (rows) => ({ rows }) as unknown as pg.QueryResult,
      );
    expect(nodes.positions(answer("10"))?.map(({ node }) => node)).toEqual(["1", "7", "8"]);
    await nodes.sql(client, "written");
    expect(learned).toHaveLength(1);
    placement = "11";
    expect(nodes.positions(answer("11"))).toBeUndefined();
    await nodes.sql(client, "written");
    expect(learned).toHaveLength(2);
    expect(nodes.positions(answer("11"))).toHaveLength(3);
  });
});
