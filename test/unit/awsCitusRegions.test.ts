import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { MOST_USER_DATA_BYTES } from "../../components/aws/citusCloudInit.ts";
import { planCitusPromotion } from "../../migration/citusPromote.ts";
import { planAwsMove } from "../../migration/awsMoves.ts";
import { authoritiesOf } from "../../scripts/aws/authorities.ts";
import { checkShards } from "../../scripts/aws/checks.ts";
import { environmentAws } from "../../scripts/aws/environment.ts";
import { citusServers } from "../../stacks/aws/citusPlan.ts";
import { costOf, totalCost } from "../../stacks/aws/cost.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { awsStage } from "../../stacks/aws/stage.ts";
import { readConfig } from "../../stacks/config.ts";

const configured = (values: Readonly<Record<string, string>> = {}) =>
  readConfig((key) => ({ target: "aws", stage: "5", ...values })[key]);
const planned = (values: Readonly<Record<string, string>> = {}) => planAws(configured(values));
const citusOf = (values: Readonly<Record<string, string>> = {}) => {
  const { citus } = planned(values);
  if (!citus) throw new Error("stage 5 without Citus");
  return citus;
};
const namesOf = (values: Readonly<Record<string, string>>) => citusOf(values).regions.map(({ name }) => name);

describe("the regions of stage 5 on AWS", () => {
  it("are the guide's three, unless one line names others", () => {
    expect(configured().regions.all).toEqual(["us-east-1", "eu-west-1", "ap-southeast-1"]);
    expect(namesOf({})).toEqual(["eu-west-1", "ap-southeast-1"]);
    expect(namesOf({ regions: '["us-east-1"]' })).toEqual([]);
    expect(namesOf({ region: "eu-central-1" })).toEqual([]);
    expect(namesOf({ regions: '["eu-west-2", "us-east-2"]' })).toEqual(["us-east-2"]);
    // Of other stages, and of Docker, one.
    expect(readConfig((key) => ({ target: "aws", stage: "4" })[key as "stage"]).regions.all).toEqual(["us-east-1"]);
    expect(readConfig((key) => ({ stage: "5" })[key as "stage"]).regions.all).toEqual(["us-east-1"]);
  });

  it("have a standby of every node and an etcd, at addresses of their own which stay", () => {
    const [eu, asia] = citusOf().regions;
    expect(eu?.clusters.map(({ nodes }) => nodes.map(({ name }) => name))).toEqual([
      ["eu-west-1-coordinator-pg0"],
      ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => [`eu-west-1-worker${n}-pg0`]),
    ]);
    expect(eu?.etcd.map(({ name, zone }) => `${name} in ${zone}`)).toEqual([
      ...["eu-west-1-etcd0 in 0", "eu-west-1-etcd1 in 1", "eu-west-1-etcd2 in 2"],
    ]);
    const all = [citusOf(), ...citusOf().regions].flatMap((place) => citusServers(place).map(({ address }) => address));
    expect(new Set(all).size).toBe(all.length);
    const later = citusOf({ regions: '["us-east-1", "sa-east-1", "ap-southeast-1"]', workers: "12" }).regions[1];
    for (const [index, { nodes }] of (asia?.clusters ?? []).entries())
      expect(later?.clusters[index]?.nodes).toEqual(nodes);
  });

  it("take the images that are given for them, each its own", () => {
    const images = (citusAmi: string) =>
      [citusOf({ citusAmi }), ...citusOf({ citusAmi }).regions].map(({ ami }) => ami);
    expect(images("ami-0123")).toEqual(["ami-0123", undefined, undefined]);
    expect(images('{"us-east-1": "ami-01", "ap-southeast-1": "ami-03"}')).toEqual(["ami-01", undefined, "ami-03"]);
  });

  it("cost what is said part by part, and are counted in the picture of a move", () => {
    const [three, one] = [costOf(planned()), costOf(planned({ regions: '["us-east-1"]' }))];
    // Of each worker a server with its disk, here as at home.
    const perServer = (lines: typeof three, part: string) =>
      lines.filter((line) => line.part === part).reduce((sum, { usdPerMonth }) => sum + usdPerMonth, 0);
    expect(perServer(three, "eu-west-1-worker8")).toBeCloseTo(perServer(three, "worker8") / 2, 6);
    // 22 secrets: nine nodes' and two of the authority; alarms of 12 machines, 9 clusters, one way; 21 figures.
    expect(three.filter(({ part }) => part === "ap-southeast-1")).toEqual([
      {
        part: "ap-southeast-1",
        what: "a key, 11 secrets, 92 alarms, 21 figures of our own",
        usdPerMonth: expect.closeTo(1 + 11 * 0.4 + 92 * 0.1 + 21 * 0.3, 6) as number,
      },
    ]);
    expect(three.find(({ part }) => part === "reads")?.what).toContain("23 health checks");
    expect(one.some(({ part }) => part === "reads" || part.startsWith("eu-west-1"))).toBe(false);
    expect(totalCost(three)).toBeGreaterThan(1.9 * totalCost(one));
    expect(planned().notes.join("\n")).toContain("set regions '[\"us-east-1\"]'");
  });

  it("come to a cluster that is there by up, with what they copy; to another stage's by a new one", () => {
    const move = (from: ReturnType<typeof planned> | null) =>
      planAwsMove({ from, to: planned(), ...{ applyImmediately: false, databaseBytes: 1e12 } });
    const [step, ...rest] = move(planned({ regions: '["us-east-1", "eu-west-1"]' }));
    expect(rest).toEqual([]);
    expect(step?.does).toMatch(
      /--target aws: in ap-southeast-1 a network, connected, etcd, and a standby of every node/,
    );
    expect(step?.does).not.toContain("beside this one");
    expect(step?.movesBytes).toBe(1e12);
    for (const from of ["3", "4"]) {
      const [first] = move(planned({ stage: from }));
      expect(first?.does).toContain("a stack of its own beside this one");
      expect(() => checkShards("prod", Number(from), 5)).toThrow("up replaces no database");
    }
  });
});

interface Made {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly provider: string | undefined;
}
const made: Made[] = [];
let values: AwsStackValues | undefined;
const found = (type: string, name: string): Made => {
  const one = made.find((resource) => resource.type === type && resource.name === name);
  if (!one) throw new Error(`no ${type} ${name}`);
  return one;
};
const userDataOf = (name: string): string =>
  gunzipSync(
    Buffer.from(String(found("aws:ec2/instance:Instance", name).inputs["userDataBase64"]), "base64"),
  ).toString();
const fileOf = (name: string, path: string): string =>
  (parse(userDataOf(name)) as { write_files: { path: string; content: string }[] }).write_files.find(
    (file) => file.path === path,
  )?.content ?? "";
/** The files of a node's secret. */
const secretOf = (name: string): Record<string, string> =>
  JSON.parse(
    String(
      (found("aws:secretsmanager/secretVersion:SecretVersion", name).inputs["secretString"] as { value?: string })
        .value ?? found("aws:secretsmanager/secretVersion:SecretVersion", name).inputs["secretString"],
    ),
  ) as Record<string, string>;

beforeAll(async () => {
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, id, provider }) => {
        made.push({ type, name, inputs: inputs as Made["inputs"], provider });
        const region = /::([a-z0-9-]+)-aws::/.exec(provider ?? "")?.[1] ?? "us-east-1";
        const state: Record<string, unknown> = {
          ...(inputs as object),
          arn: `arn:aws:${type.includes("secret") ? "secretsmanager" : "x"}:${region}:1:${name}`,
        };
        if (type === "random:index/randomPassword:RandomPassword") state["result"] = "a-password-of-many-letters";
        if (type === "aws:route53/zone:Zone") state["zoneId"] = `${name}-id`;
        return { id: id || `${name}-id`, state };
      },
      call: ({ inputs }) => inputs as Record<string, unknown>,
    },
    "cgraph",
    "unit",
  );
  await pulumi.runtime.runInPulumiStack(async () => {
    const config = configured({ workers: "2", synchronous: "strict" });
    pulumi.output(awsStage("unit", config, planAws(config))).apply((known) => {
      values = known;
    });
    return {};
  });
  await pulumi.runtime.disconnect();
}, 180_000);

const ZONE = "unit.cgraph.internal";

describe("a node beside home", () => {
  const name = "eu-west-1-worker2-pg0";

  it("follows home's primary over the balancer, and finds older WAL in home's archive, without Citus in Patroni", () => {
    const cluster = JSON.parse(fileOf(name, "/run/cgraph-config/cluster.json")) as Record<string, unknown>;
    expect(cluster["standby_cluster"]).toEqual({
      ...{ host: `worker2.us-east-1.regions.${ZONE}`, port: 5502, create_replica_methods: ["alone", "basebackup"] },
      restore_command: 'pgbackrest --config=/etc/cgraph/home-archive.conf archive-get %f "%p"',
    });
    const patroni = parse(secretOf(name)["patroni.yml"] ?? "") as Record<string, never>;
    expect(patroni["citus"]).toBeUndefined();
    expect(patroni).toMatchObject({
      ...{ scope: "cgraph-unit-citus-eu-west-1-worker2", name },
      etcd3: { hosts: [0, 1, 2].map((n) => `eu-west-1-etcd${n}.${ZONE}:2379`) },
      postgresql: { alone: { no_leader: true }, connect_address: `${name}.${ZONE}:5432` },
    });
    expect(fileOf(name, "/etc/cgraph/node.env")).toContain(
      'CGRAPH_CONFIG_KEY="/cgraph/cgraph-unit-citus-eu-west-1-worker2/config"',
    );
    const archive = secretOf(name)["home-archive.conf"] ?? "";
    expect(archive).toContain("repo1-s3-bucket=backups-id\n");
    expect(archive).toContain("repo1-path=/worker2\n");
    expect(archive).toContain("repo1-s3-region=us-east-1\n");
    expect(secretOf(name)["pgbackrest.conf"]).toContain("repo1-s3-bucket=eu-west-1-backups-id\n");
  });

  it("has home's settings, Citus loaded among them, and can write alone once it is promoted", () => {
    const config = (node: string) =>
      JSON.parse(fileOf(node, "/run/cgraph-config/cluster.json")) as {
        synchronous_mode_strict: boolean;
        postgresql: { parameters: Record<string, string>; pg_ident: string[]; pg_hba: string[] };
      };
    const [here, home] = [config(name), config("worker2-pg0")];
    expect(here.postgresql.parameters).toEqual({
      ...home.postgresql.parameters,
      "citus.local_hostname": "/run/postgresql",
    });
    expect(here.postgresql.parameters["shared_preload_libraries"]).toMatch(/^citus,/);
    expect({ here: here.synchronous_mode_strict, home: home.synchronous_mode_strict }).toEqual({
      ...{ here: false, home: true },
    });
    // Its region's nodes by their certificates, from their addresses; copies in other regions by the balancer's.
    expect(here.postgresql.pg_ident[0]).toContain("/^eu-west-1-(coordinator|worker[0-9]+)-pg[0-9]+$  all");
    const network = citusOf().regions[0]?.network;
    expect(here.postgresql.pg_hba.filter((rule) => rule.includes("cert map"))).toEqual([
      expect.stringContaining(`${network?.nodes ?? "?"}  cert map=`) as string,
    ]);
    expect(here.postgresql.pg_hba).toContain(
      `hostssl replication  replicator,replicator_b  ${network?.balancers ?? "?"}  scram-sha-256`,
    );
  });

  it("has the names of home's nodes on its certificate, after its own, which is what it is known by", () => {
    const tls = (node: string): string[] =>
      (/CGRAPH_TLS_NAMES="(.*)"/.exec(fileOf(node, "/etc/cgraph/node.env"))?.[1] ?? "").split(",");
    expect(tls(name)).toEqual([
      ...[name, `${name}.${ZONE}`, `worker2.eu-west-1.regions.${ZONE}`],
      ...[`worker2-pg0.${ZONE}`, `worker2-pg1.${ZONE}`, "localhost"],
    ]);
    expect(tls("eu-west-1-coordinator-pg0")).toEqual(
      expect.arrayContaining([...[`database.${ZONE}`, `database.eu-west-1.regions.${ZONE}`, `read.regions.${ZONE}`]]),
    );
    // Home's have theirs whether there are other regions or not.
    expect(tls("worker2-pg0")).toContain(`worker2.us-east-1.regions.${ZONE}`);
  });

  it("knows where the other regions take the writes of its cluster, from its secret and not from what it began with", () => {
    expect(secretOf(name)["regions"]).toBe(
      `ap-southeast-1 worker2.ap-southeast-1.regions.${ZONE} 5502\nus-east-1 worker2.us-east-1.regions.${ZONE} 5502\n`,
    );
    expect(secretOf("coordinator-pg1")["regions"]).toBe(
      `ap-southeast-1 coordinator.ap-southeast-1.regions.${ZONE} 5500\neu-west-1 coordinator.eu-west-1.regions.${ZONE} 5500\n`,
    );
    expect(userDataOf("coordinator-pg1")).not.toContain("eu-west-1");
  });

  it("begins with scripts that a shell understands, within AWS's limit, and gives way to nobody by itself", () => {
    for (const node of [name, "eu-west-1-etcd0", "coordinator-pg0"]) {
      const packed = String(found("aws:ec2/instance:Instance", node).inputs["userDataBase64"]);
      expect(Buffer.from(packed, "base64").length).toBeLessThan(MOST_USER_DATA_BYTES);
      const { write_files: files } = parse(userDataOf(node)) as { write_files: { path: string; content: string }[] };
      for (const { path, content } of files.filter((file) => file.content.startsWith("#!/bin/sh"))) {
        for (const shell of ["sh", "bash"]) {
          expect(spawnSync(shell, ["-n"], { input: content }).status, `${shell} ${path}`).toBe(0);
        }
      }
    }
    expect(fileOf(name, "/etc/cgraph/node.env")).toMatch(/CGRAPH_BESIDE="yes"/);
    expect(fileOf(name, "/etc/cgraph/node.env")).not.toContain("cgraph-yield");
    expect(fileOf("worker2-pg0", "/etc/cgraph/node.env")).toContain("cgraph-yield.timer");
    expect(fileOf("worker2-pg0", "/etc/systemd/system/patroni.service.d/cgraph.conf")).toContain(
      "ExecStartPre=-/usr/local/bin/cgraph-region yield\n",
    );
  });
});

/** Runs cgraph-region of a node where etcd, Patroni and PostgreSQL are stand-ins, which keep what they are told in files. */
function onNode(
  node: string,
  state: { readonly config: unknown; readonly leads?: boolean; readonly writesIn?: string; readonly asks?: string },
  ...args: readonly string[]
) {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-region-"));
  try {
    const bin = join(folder, "bin");
    mkdirSync(bin);
    const fake = (name: string, text: string): void => {
      writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
      chmodSync(join(bin, name), 0o755);
    };
    for (const [name, text] of Object.entries(secretOf(node))) writeFileSync(join(folder, name), text);
    const env = fileOf(node, "/etc/cgraph/node.env").replace(
      /^PATH=.*$/m,
      `PATH="${bin}:${process.env["PATH"] ?? ""}"`,
    );
    writeFileSync(join(folder, "node.env"), env);
    writeFileSync(join(folder, "config"), JSON.stringify(state.config));
    writeFileSync(join(folder, "said"), "");
    fake("etcdctl", `if [ "$1" = put ]; then cat >${folder}/config; else cat ${folder}/config; fi`);
    // It fails where Patroni answers otherwise, as with -f; a promotion takes until the second question.
    fake("curl", `case "$1 $*" in -fs*/leader) exit ${state.leads === true ? 0 : 22} ;; *) exit 2 ;; esac`);
    fake("setpriv", 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"');
    fake("python3", 'eval "key=\\${$#}"; echo "the-$key"');
    fake("patronictl", `echo "patronictl $*" >>${folder}/said`);
    fake("pg_ctl", `echo "pg_ctl $*" >>${folder}/said`);
    fake("pg_controldata", 'echo "Latest checkpoint location:           0/3000060"');
    // The node's own server by its socket; another region's by its name.
    fake(
      "psql",
      `case "$*" in
  *host=*) echo "asked $*" >>${folder}/said; case "$*" in *"host=${state.writesIn ?? "nowhere"} "*) echo f ;; *) exit 2 ;; esac ;;
  *in_recovery\\(\\)) echo "asked whether it recovers" >>${folder}/said; [ -e ${folder}/asked ] && echo "${state.asks ?? "f"}" || echo "${state.leads === true ? "t" : (state.asks ?? "f")}"; touch ${folder}/asked ;;
  *) echo "${state.asks ?? "f"}" ;;
esac`,
    );
    const script = readFileSync("images/ec2/bin/cgraph-region", "utf8").replaceAll("/etc/cgraph", folder);
    const done = spawnSync("sh", ["-s", ...args], { input: script, encoding: "utf8" });
    const config: unknown = JSON.parse(readFileSync(join(folder, "config"), "utf8"));
    return { ...done, config, said: readFileSync(join(folder, "said"), "utf8") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("cgraph-region on a node", () => {
  const primary = { ttl: 20, synchronous_mode: true };
  const EU = `worker2.eu-west-1.regions.${ZONE}`;
  const following = { host: EU, port: 5502, create_replica_methods: ["alone", "basebackup"] };

  it("promotes: the standby flag goes, and a pause; what else is configured stays", () => {
    const { status, config, said } = onNode(
      "eu-west-1-worker2-pg0",
      { config: { ...primary, pause: true, standby_cluster: { host: "home" } }, leads: true },
      "promote",
    );
    expect({ status, config }).toEqual({ status: 0, config: primary });
    // It waits until the server takes writes.
    expect(said.match(/asked whether it recovers/g)).toHaveLength(2);
  });

  it("follows another region by its balancer's port, once more without a pause", () => {
    const { status, config } = onNode(
      "worker2-pg0",
      { config: { ...primary, pause: true } },
      ...["follow", "eu-west-1"],
    );
    expect({ status, config }).toEqual({ status: 0, config: { ...primary, standby_cluster: following } });
    const unknown = onNode("worker2-pg0", { config: primary }, "follow", "sa-east-1");
    expect(unknown.status).toBe(1);
    expect(unknown.stderr).toContain("knows no region sa-east-1: ap-southeast-1 eu-west-1");
    expect(unknown.config).toEqual(primary);
  });

  it("stops a primary in order, after Patroni has been told to let it", () => {
    const { status, said, stdout } = onNode("worker2-pg0", { config: primary, asks: "f" }, "stop");
    expect(status).toBe(0);
    expect(said).toMatch(/^patronictl .* pause --wait\nasked whether it recovers\npg_ctl .*-m fast -t 600 -s stop\n$/);
    expect(stdout).toContain("worker2-pg0 ended at 0/3000060");
    expect(onNode("worker2-pg1", { config: primary, asks: "t" }, "stop").said).not.toContain("pg_ctl");
  });

  it("gives way at home to a region that takes writes, and asks only for that", () => {
    const { config, said } = onNode("worker2-pg0", { config: primary, writesIn: EU }, "yield");
    expect(config).toEqual({ ...primary, standby_cluster: following });
    expect(said).toContain(`port=5502 dbname=postgres user=the-username`);
    expect(said).not.toContain("the-password");
    // Nobody writes elsewhere; it follows already; or the region is not home.
    expect(onNode("worker2-pg0", { config: primary }, "yield").config).toEqual(primary);
    const told = { ...primary, standby_cluster: { host: "elsewhere" } };
    expect(onNode("worker2-pg0", { config: told, writesIn: EU }, "yield").config).toEqual(told);
    const beside = onNode(
      "eu-west-1-worker2-pg0",
      { config: primary, writesIn: `worker2.us-east-1.regions.${ZONE}` },
      "yield",
    );
    expect({ config: beside.config, said: beside.said }).toEqual({ config: primary, said: "" });
  });

  it("says what it can do, where it is asked for something else", () => {
    const { status, stderr } = onNode("worker2-pg0", { config: primary }, "demote");
    expect(status).toBe(1);
    expect(stderr).toContain("state, stop, promote, follow REGION, yield");
  });
});

describe("the names of a region", () => {
  it("lead home's nodes' names to the region's own, in a zone of its VPC alone", () => {
    const zone = found("aws:route53/zone:Zone", "eu-west-1-nodes");
    expect(zone.inputs).toMatchObject({ name: ZONE, vpcs: [{ vpcId: "eu-west-1-vpc-id", vpcRegion: "eu-west-1" }] });
    expect(found("aws:route53/zone:Zone", "nodes").inputs).toMatchObject({ name: ZONE, vpcs: [{ vpcId: "vpc-id" }] });
    const own = citusOf({ workers: "2" }).regions[0]?.clusters[2]?.nodes[0]?.address;
    for (const node of ["worker2-pg0", "worker2-pg1"]) {
      expect(found("aws:route53/record:Record", `eu-west-1-for-${node}`).inputs).toMatchObject({
        ...{ zoneId: "eu-west-1-nodes-id", name: `${node}.${ZONE}`, records: [own] },
      });
    }
    expect(found("aws:route53/zone:Zone", "across").inputs["vpcs"]).toHaveLength(3);
    expect(found("aws:route53/record:Record", "eu-west-1-across").inputs).toMatchObject({
      ...{ zoneId: "across-id", name: `*.eu-west-1.regions.${ZONE}`, type: "A" },
    });
  });
});

describe("env of a Citus cluster in three regions", () => {
  it("has home's pool for writes, the region's coordinator for reads, and where it writes once promoted", () => {
    if (!values) throw new Error("no outputs");
    const env = environmentAws(values, "/ca.pem");
    const { hostname, port, searchParams } = new URL(env["DATABASE_REPLICA_URL_EU_WEST_1"] ?? "");
    expect({ hostname, port, sslmode: searchParams.get("sslmode") }).toEqual({
      ...{ hostname: `database.eu-west-1.regions.${ZONE}`, port: "5433", sslmode: "verify-full" },
    });
    expect(env["DATABASE_URL_EU_WEST_1"]).toBe(env["DATABASE_URL"]);
    expect(env["DATABASE_PROMOTED_URL_AP_SOUTHEAST_1"]).toContain(`@database.ap-southeast-1.regions.${ZONE}:5432/`);
    expect(env["DATABASE_NEAREST_REPLICA_URL"]).toContain(`@read.regions.${ZONE}:5433/`);
    expect(env["DATABASE_REPLICA_URL_US_EAST_1"]).toBe(env["DATABASE_REPLICA_URL"]);
  });

  it("has the authority's certificate from another region while home does not answer", async () => {
    if (!values?.citus) throw new Error("no outputs");
    const folder = mkdtempSync(join(tmpdir(), "cgraph-aws-"));
    const path = process.env["PATH"];
    try {
      const answer = JSON.stringify({ SecretString: "-----BEGIN CERTIFICATE-----\n" });
      writeFileSync(
        join(folder, "aws"),
        `#!/bin/sh\ncase "$*" in --version) ;; *us-east-1*) echo 'Could not connect to the endpoint' >&2; exit 255 ;; *eu-west-1*) printf '%s' '${answer}' ;; *) exit 1 ;; esac\n`,
        { mode: 0o755 },
      );
      process.env["PATH"] = `${folder}:${path ?? ""}`;
      const file = await authoritiesOf(values, folder);
      expect(readFileSync(file, "utf8")).toContain("BEGIN CERTIFICATE");
      rmSync(file);
      const alone = { ...values, citus: { ...values.citus, regions: [] } };
      await expect(authoritiesOf(alone, folder)).rejects.toThrow("Could not connect");
    } finally {
      process.env["PATH"] = path;
      rmSync(folder, { recursive: true });
    }
  });

  it("goes with pools that fit: the guide's of each API node, and how many nodes", () => {
    const { pools, regions } = values?.citus ?? {};
    // 3 poolers of 1000 clients; an API node holds 20 + 30.
    expect(pools).toEqual({ write: { perApiNode: 20, mostApiNodes: 60 }, read: { perApiNode: 30, mostApiNodes: 60 } });
    const most = Number(citusOf().settings["max_connections"]?.value);
    expect(regions?.[0]?.pools.read).toEqual({ perApiNode: 30, mostApiNodes: Math.floor((most - 20) / 30) });
  });
});

describe("a promotion of a region at stage 5 on AWS", () => {
  const plan = (region: string) => {
    if (!values?.citus) throw new Error("no outputs");
    return planCitusPromotion(values, values.citus, region);
  };
  const commandsOf = (id: string) =>
    [...plan("eu-west-1").steps, ...plan("eu-west-1").wayBack].find((one) => one.id === id)?.commands ?? [];

  it("fences before it promotes, the coordinator first; and promotes workers first", () => {
    expect(plan("eu-west-1").steps.map(({ id }) => id)).toEqual([
      ...["check", "fence", "drain", "promote", "clients", "follow", "reads"],
    ]);
    expect(commandsOf("fence").slice(0, 2)).toEqual([
      'on us-east-1 600 "coordinator-pg0-id coordinator-pg1-id" "stop"',
      'on us-east-1 600 "worker1-pg0-id worker1-pg1-id worker2-pg0-id worker2-pg1-id" "stop"',
    ]);
    expect(commandsOf("fence")[2]).toContain("elbv2 set-security-groups --region us-east-1");
    expect(commandsOf("promote")).toEqual([
      'on eu-west-1 600 "eu-west-1-worker1-pg0-id eu-west-1-worker2-pg0-id" "promote"',
      'on eu-west-1 600 "eu-west-1-coordinator-pg0-id" "promote"',
    ]);
  });

  it("has everybody else follow, home and the third region, and a way back that ends where it began", () => {
    expect(commandsOf("follow").map((line) => line.split(" ")[1])).toEqual(["us-east-1", "ap-southeast-1"]);
    for (const line of commandsOf("follow")) expect(line).toMatch(/604800 ".*" "follow eu-west-1"$/);
    expect(commandsOf("back:promote")[1]).toContain('"coordinator-pg0-id coordinator-pg1-id" "promote"');
    for (const line of commandsOf("back:follow")) expect(line).toMatch(/"follow us-east-1"$/);
  });

  it("has commands that a shell understands", () => {
    const { steps, wayBack } = plan("ap-southeast-1");
    const script = [...steps, ...wayBack].flatMap(({ commands }) => commands).join("\n");
    expect(spawnSync("bash", ["-n"], { input: script }).stderr.toString()).toBe("");
  });

  it("is refused of home, and of a region that there is not", () => {
    expect(() => plan("us-east-1")).toThrow("us-east-1 is home");
    expect(() => plan("sa-east-1")).toThrow("the stack has no region sa-east-1");
  });
});
