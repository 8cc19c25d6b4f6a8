import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { nodeNames } from "../../components/docker/citusNames.ts";
import { readConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { planTopology } from "../../stacks/topology.ts";

interface Made {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

/** The stacks that are planned: Citus clusters with one and two servers for each node in a region, and shards. */
const STACKS = {
  one: { stage: "5", workers: "2", regionReplicas: "1" },
  two: { stage: "5", workers: "2", regionReplicas: "2" },
  shards: { stage: "4", shards: "2", regionReplicas: "1" },
} as const;
type Planned = keyof typeof STACKS;
const made = new Map<Planned, Made[]>();
const outputs = new Map<Planned, StackValues>();
let collecting: Planned = "one";

const found = (planned: Planned, name: string): Made => {
  const one = made.get(planned)?.find((resource) => resource.name === name);
  if (!one) throw new Error(`no ${name} among ${planned}`);
  return one;
};
const inputsOf = (planned: Planned, name: string) =>
  found(planned, name).inputs as {
    readonly envs: readonly string[];
    readonly networksAdvanced: readonly { readonly name: string; readonly aliases: readonly string[] }[];
    readonly volumes: readonly { readonly volumeName: string; readonly containerPath: string }[];
    readonly uploads: readonly { readonly file: string; readonly content: string }[];
  };
const fileOf = (planned: Planned, writer: string, file: string): string =>
  inputsOf(planned, writer).uploads.find((upload) => upload.file.endsWith(`/${file}`))?.content ?? "";
const repositoryOf = (planned: Planned, server: string): string | undefined =>
  inputsOf(planned, server).volumes.find(({ containerPath }) => containerPath === "/var/lib/pgbackrest")?.volumeName;
const tlsNames = (planned: Planned, name: string): string[] =>
  inputsOf(planned, name)
    .envs.flatMap((env) => /^CGRAPH_TLS_NAMES=(.*)$/.exec(env)?.[1] ?? [])
    .flatMap((names) => names.split(","));

beforeAll(async () => {
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, id }) => {
        made.get(collecting)?.push({ type, name, inputs: inputs as Made["inputs"] });
        const state: Record<string, unknown> = { ...(inputs as object) };
        if (type === "random:index/randomPassword:RandomPassword") state["result"] = `${name}-secret`;
        if (type === "random:index/randomId:RandomId") state["hex"] = "0123456789abcdef";
        if (type === "docker:index/remoteImage:RemoteImage") state["imageId"] = "sha256:image";
        return { id: id ?? `${name}-id`, state };
      },
      call: ({ inputs }) => inputs as Record<string, unknown>,
    },
    "cgraph",
    "unit",
  );
  const { stage4 } = await import("../../stacks/stage4.ts");
  const { stage5 } = await import("../../stacks/stage5.ts");
  for (const planned of Object.keys(STACKS) as Planned[]) {
    collecting = planned;
    made.set(planned, []);
    const values: Readonly<Record<string, string>> = {
      ...STACKS[planned],
      ...{ monitoring: "false", regions: '["us-east-1", "eu-west-1"]' },
    };
    const config = readConfig((key) => values[key]);
    const compose = config.stage === 4 ? stage4 : stage5;
    await pulumi.runtime.runInPulumiStack(async () => {
      const all = compose("unit", config, planTopology(config, { cpus: 16, memoryMiB: 262_144 }));
      await new Promise<void>((resolve) =>
        pulumi.output(all).apply((known) => {
          outputs.set(planned, known);
          resolve();
        }),
      );
      return {};
    });
  }
  await pulumi.runtime.disconnect();
}, 120_000);

describe("a Citus cluster's region in containers", () => {
  it("has a server for each node that bears all names of that node, and shows them on its certificate", () => {
    for (const cluster of ["coordinator", "worker1", "worker2"]) {
      const server = `eu-west-1-${cluster}-pg0`;
      expect(inputsOf("one", server).networksAdvanced).toEqual([
        { name: "cgraph-unit-eu-west-1", aliases: [server, ...nodeNames(cluster)] },
      ]);
      const [first, ...names] = tlsNames("one", server);
      // By the first its fellows know it.
      expect(first).toBe(server);
      expect(names).toEqual(expect.arrayContaining(nodeNames(cluster)));
    }
    expect(inputsOf("one", "coordinator-pg0").networksAdvanced[0]?.aliases).toEqual(["coordinator-pg0"]);
    expect(tlsNames("one", "worker1-pg0")).not.toContain("worker1-pg1");
    expect(made.get("one")?.some(({ name }) => name.endsWith("-node"))).toBe(false);
  });

  it("has something before a node's servers that bears the names, where there are several", () => {
    for (const cluster of ["coordinator", "worker2"]) {
      expect(inputsOf("two", `eu-west-1-${cluster}-node`).networksAdvanced[0]?.aliases).toEqual([
        `${cluster}-node`,
        ...nodeNames(cluster),
      ]);
      const server = `eu-west-1-${cluster}-pg1`;
      expect(inputsOf("two", server).networksAdvanced[0]?.aliases).toEqual([server]);
      expect(tlsNames("two", server)).toEqual(expect.arrayContaining(nodeNames(cluster)));
    }
    expect(fileOf("two", "eu-west-1-worker1-node-config-writer", "haproxy.cfg")).toContain(
      "server eu-west-1-worker1-pg1",
    );
    const services = outputs.get("two")?.services.filter(({ kind }) => kind === "haproxy");
    expect(services?.map(({ name }) => name)).toContain("eu-west-1-worker1-node");
  });

  it("follows each of home's nodes, without Patroni knowing of Citus there", () => {
    const patroni = (server: string) =>
      parse(fileOf("one", `${server}-config-writer`, "patroni.yml")) as { scope: string; citus?: object };
    expect(patroni("worker1-pg0").citus).toEqual({ group: 1, database: "cgraph_production" });
    expect(patroni("eu-west-1-worker1-pg0")).toMatchObject({ scope: "unit-worker1-1-eu-west-1" });
    expect(patroni("eu-west-1-worker1-pg0").citus).toBeUndefined();
    const region = JSON.parse(fileOf("one", "eu-west-1-region-agent-config-writer", "region.json")) as {
      clusters: { name: string; nodes: string[]; upstream: { host: string; port: number } }[];
    };
    expect(region.clusters.map(({ name, nodes, upstream }) => [name, nodes, upstream.host, upstream.port])).toEqual([
      ["coordinator", ["eu-west-1-coordinator-pg0"], "haproxy", 5432],
      ["worker1", ["eu-west-1-worker1-pg0"], "haproxy", 5440],
      ["worker2", ["eu-west-1-worker2-pg0"], "haproxy", 5442],
    ]);
  });

  it("has one server of each node at home that may make a new cluster", () => {
    for (const cluster of ["coordinator", "worker1"]) {
      const makes = [`${cluster}-pg0`, `${cluster}-pg1`].filter(
        (server) => "bootstrap" in (parse(fileOf("one", `${server}-config-writer`, "patroni.yml")) as object),
      );
      expect(makes).toEqual([`${cluster}-pg0`]);
    }
  });

  it("writes to each node's own repository of backups, which reaches servers by names that nobody else has", () => {
    for (const cluster of ["coordinator", "worker2"]) {
      expect(repositoryOf("one", `eu-west-1-${cluster}-pg0`)).toBe(`cgraph-unit-${cluster}-backups`);
      expect(repositoryOf("one", `${cluster}-pg0`)).toBe(`cgraph-unit-${cluster}-backups`);
    }
    const conf = fileOf("one", "worker2-backup", "pgbackrest.conf");
    expect(conf.match(/^pg\d-host=.*$/gm)).toEqual([
      "pg1-host=cgraph-unit-worker2-pg0",
      "pg2-host=cgraph-unit-worker2-pg1",
      "pg3-host=cgraph-unit-eu-west-1-worker2-pg0",
    ]);
  });

  it("is told to the commands as other stages' regions are", () => {
    const { regions, services } = outputs.get("one") ?? {};
    expect(regions?.all.map(({ name, clusters }) => [name, clusters.map((cluster) => cluster.name)])).toEqual([
      ["us-east-1", []],
      ["eu-west-1", ["coordinator", "worker1", "worker2"]],
    ]);
    expect(regions?.all[1]?.pool.port).toBe(7434);
    expect(services?.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["eu-west-1-etcd0", "eu-west-1-haproxy", "eu-west-1-pgbouncer0", "arbiter-witness"]),
    );
  });
});

describe("a region of shards in containers", () => {
  it("writes to each cluster's own repository of backups, the first's being the one that it had when it was alone", () => {
    const repositories = { pg0: "cgraph-unit-backups", "shard1-pg0": "cgraph-unit-shard1-backups" };
    for (const [server, repository] of Object.entries({
      ...repositories,
      "global-pg0": "cgraph-unit-global-backups",
    })) {
      expect([server, repositoryOf("shards", server)]).toEqual([server, repository]);
      expect([server, repositoryOf("shards", `eu-west-1-${server}`)]).toEqual([server, repository]);
    }
  });

  it("has the slots of the global database's subscribers where that takes writes", () => {
    const slots = (cluster: string): unknown =>
      (parse(fileOf("shards", `${cluster}-cluster-config`, "cluster.json")) as { slots?: object }).slots;
    expect(slots("eu-west-1-global")).toEqual(slots("global"));
    expect(Object.keys(slots("eu-west-1-global") as object)).toEqual(["cgraph_global_shard0", "cgraph_global_shard1"]);
    expect(slots("eu-west-1-shard1")).toEqual({});
  });
});
