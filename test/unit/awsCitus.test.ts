import { execFileSync, spawnSync } from "node:child_process";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import {
  CITUS_PACKAGE,
  MOST_USER_DATA_BYTES,
  type NodeInput,
  citusCloudConfig,
  citusUserData,
} from "../../components/aws/citusCloudInit.ts";
import { CITUS_IDENT_RULES, citusHbaRules, citusRules } from "../../components/docker/citusFiles.ts";
import { clusterConfig, patroniYaml } from "../../components/docker/patroniFiles.ts";
import { pgbouncerIni } from "../../components/docker/pgbouncerFiles.ts";
import { planAwsMove } from "../../migration/awsMoves.ts";
import { awsPicture } from "../../migration/picture.ts";
import { checkShards } from "../../scripts/aws/checks.ts";
import { watchesOf } from "../../stacks/aws/alarms.ts";
import { citusServers } from "../../stacks/aws/citusPlan.ts";
import { costOf, totalCost } from "../../stacks/aws/cost.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { readConfig } from "../../stacks/config.ts";

const configured = (values: Readonly<Record<string, string>> = {}) =>
  readConfig((key) => ({ target: "aws", stage: "5", ...values })[key]);
const planned = (values: Readonly<Record<string, string>> = {}) => planAws(configured(values));
const citusOf = (values: Readonly<Record<string, string>> = {}) => {
  const { citus } = planned(values);
  if (!citus) throw new Error("stage 5 without Citus");
  return citus;
};

describe("the plan of stage 5 on AWS", () => {
  it("has a coordinator and eight workers, a standby each in another zone, and etcd in every zone", () => {
    const { clusters, etcd, settings } = citusOf();
    expect(clusters.map(({ name }) => name)).toEqual([
      "coordinator",
      ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => `worker${n}`),
    ]);
    for (const { name, nodes } of clusters) {
      expect(nodes.map((node) => node.name)).toEqual([`${name}-pg0`, `${name}-pg1`]);
      expect(nodes[0]?.zone, name).not.toBe(nodes[1]?.zone);
    }
    // Primaries are spread too.
    expect(new Set(clusters.map(({ nodes }) => nodes[0]?.zone)).size).toBe(3);
    expect(etcd.map(({ zone }) => zone)).toEqual([0, 1, 2]);
    expect(settings["shared_preload_libraries"]?.value).toMatch(/^citus,/);
    expect(settings["citus.node_conninfo"]?.value).toContain("sslmode=verify-full");
  });

  it("takes the cheapest class with the stage's CPUs and memory that Citus has packages for", () => {
    const [node] = citusOf().clusters[0]?.nodes ?? [];
    expect(node).toMatchObject({
      class: { name: "m6a.8xlarge", cpus: 32, memoryMiB: 131_072 },
      volume: { sizeGiB: 4000, iops: 12_000, throughputMiBs: 500 },
    });
    expect(citusOf().etcd[0]?.class.name).toBe("t3a.small");
    expect(citusOf({ instanceClass: "r6a.8xlarge" }).clusters[1]?.nodes[0]?.class.memoryMiB).toBe(262_144);
  });

  it("gives every server an address of its own, which stays when workers and standbys come", () => {
    const addresses = (values: Record<string, string>) =>
      new Map(citusServers(citusOf(values)).map(({ name, address }) => [name, address]));
    const before = addresses({ workers: "8" });
    expect(new Set(before.values()).size).toBe(before.size);
    const after = addresses({ workers: "40", replicas: "3", regions: '["us-east-1"]' });
    expect(new Set(after.values()).size).toBe(after.size);
    for (const [name, address] of before) expect(after.get(name)).toBe(address);
    // All of them within the nodes' own range: the third quarter.
    expect(citusOf().network).toEqual({
      nodes: "10.20.128.0/18",
      zones: ["10.20.128.0/20", "10.20.144.0/20", "10.20.160.0/20"],
      wayOut: "10.20.240.0/20",
      balancers: "10.20.0.0/18",
    });
    for (const address of after.values())
      expect(Number(address.split(".")[2])).toSatisfy((n: number) => n >= 128 && n < 176);
  });

  it("needs no other settings for another worker", () => {
    expect(citusOf({ workers: "9" }).settings).toEqual(citusOf({ workers: "2" }).settings);
  });

  it("says what it costs, part by part", () => {
    const lines = costOf(planned());
    expect(lines.filter(({ part }) => part === "worker8").map(({ what }) => what)).toEqual([
      "2 × m6a.8xlarge with figures every minute",
      "2 × 4000 GiB gp3, 12000 IOPS, 500 MiB/s",
    ]);
    // Two instances of 1.3824 an hour; two volumes of 320, 45 for 9000 IOPS and 15 for 375 MiB/s above the baseline.
    expect(lines.find(({ part }) => part === "worker8")?.usdPerMonth).toBeCloseTo(2 * (1009.152 + 2.1 + 1.6), 2);
    expect(lines.filter(({ part }) => part === "worker8")[1]?.usdPerMonth).toBeCloseTo(2 * 380, 2);
    expect(totalCost(costOf(planned({ workers: "9" })))).toBeGreaterThan(totalCost(lines) + 2700);
  });

  it("watches each machine, each cluster's primary and standbys, and the ways to the coordinator", () => {
    const watches = watchesOf("unit", planned({ workers: "1" }), (server) => server);
    const names = watches.map(({ name }) => name);
    for (const name of ["etcd2-status", "worker1-pg1-disk", "worker1-primary", "coordinator-lag", "database-write"]) {
      expect(names).toContain(name);
    }
    expect(watches.find(({ name }) => name === "worker1-primary")).toMatchObject({
      bad: "below",
      critical: 1,
      missing: "bad",
    });
    expect(new Set(names).size).toBe(names.length);
  });

  it.each([
    [{ workers: "0" }, "cgraph:workers"],
    [{ workers: "9", shardCount: "8" }, "some workers would have none"],
    [{ regions: '["us-east-1", "eu-west-1", "us-east-1"]' }, "names us-east-1 twice"],
    [{ regions: '["us-west-1"]' }, "two zones in us-west-1"],
    [{ regions: '["us-east-1", "us-west-1"]' }, "two zones in us-west-1"],
    [{ regions: '["us-east-1", "nowhere-1"]' }, "nowhere-1"],
    [{ regionReplicas: "2" }, "one standby in each region beside home"],
    [{ primaryRegion: "eu-west-1" }, "the primary's region is home, us-east-1"],
    [{ workers: "48" }, "one balancer, which has 50 listeners"],
    [{ clientCidrs: '["10.38.0.0/15"]' }, "overlap"],
    [{ vpcCidr: "100.64.0.0/16" }, "no addresses beside it"],
    [{ citusAmi: '{"eu-west-2": "ami-0123"}' }, "for each of the stack's regions"],
    [{ citusAmi: "{" }, "for each of the stack's regions"],
    [{ vpcId: "vpc-1", subnetIds: '["subnet-1", "subnet-2"]' }, "takes a VPC of the stack's own"],
    [{ postgresVersion: "16" }, "Debian 13"],
    [{ backupCopyRegion: "eu-west-1" }, "snapshots of RDS"],
    [{ citusAmi: "debian-13" }, "not the id of an image"],
    [{ pooler: "rds-proxy" }, "stage 5 runs on EC2"],
    [{ instanceClass: "db.m7g.8xlarge" }, "not a class known here"],
    [{ storageThroughputMiBs: "3500" }, "at most"],
    [{ vpcCidr: "10.20.0.0/24" }, "too few addresses"],
    [{ backupS3Bucket: "backups", backupS3Endpoint: "s3.example.org", backupS3Region: "r" }, "a bucket of its own"],
  ])("refuses %o", (values, message) => {
    expect(() => planned(values)).toThrow(message);
  });
});

describe("a move to stage 5 on AWS", () => {
  it.each([3, 4])("from stage %i says new cluster and data move, and the old databases stay", (from) => {
    const steps = planAwsMove({
      from: planned({ stage: String(from) }),
      to: planned(),
      ...{ applyImmediately: false, databaseBytes: null },
    });
    expect(steps.map(({ id }) => id)).toEqual(["5:new", "5:schema", "5:copy", "5:cutover", "5:discard"]);
    expect(steps[0]?.does).toContain("a stack of its own beside this one");
    expect(steps[2]?.movesBytes).toBeGreaterThan(1e11);
    expect(steps[4]?.does).toContain("its databases are protected");
    // Home's primaries and standbys, and one of each in two more regions.
    expect(awsPicture(planned(), configured()).servers).toHaveLength(36);
    expect(steps[0]?.does).toContain("in eu-west-1 and ap-southeast-1 a network, connected, etcd, and a standby");
  });

  it("is refused to up in either direction, with what to do", () => {
    expect(() => checkShards("prod", 4, 5)).toThrow("up replaces no database");
    expect(() => checkShards("prod", 3, 5)).toThrow("up replaces no database");
    expect(() => checkShards("prod", 5, 4)).toThrow("does not move the rows");
    expect(() => checkShards("prod", 5, 5)).not.toThrow();
  });
});

const config = () =>
  clusterConfig({
    ...{ settings: citusOf().settings, synchronous: "on", slots: {} },
    rules: { hba: citusRules("10.20.128.0/18", []), ident: CITUS_IDENT_RULES },
  });
const common = {
  ...{ stack: "unit", region: "eu-west-1", domain: "unit.cgraph.internal", volumeId: "vol-0123456789abcdef0" },
  authority: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cgraph-unit-authority-AbCdEf",
  authorityKey: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cgraph-unit-authority-key-AbCdEf",
  etcdMembers: ["etcd0", "etcd1", "etcd2"],
  beside: false,
};
const inputs = (): Record<NodeInput["kind"], NodeInput> => ({
  etcd: { ...common, kind: "etcd", name: "etcd1" },
  citus: {
    ...{ ...common, kind: "citus", name: "coordinator-pg0", cluster: "coordinator" },
    secret: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cgraph-unit-coordinator-pg0-AbCdEf",
    ...{ clientNames: ["database.unit.cgraph.internal"], clusterConfig: config(), configKey: "/cgraph/unit/0/config" },
    backups: { intervalHours: 24, fullDays: 7 },
  },
});
interface CloudConfig {
  readonly hostname: string;
  readonly fqdn: string;
  readonly users: unknown[];
  readonly write_files: readonly { readonly path: string; readonly permissions: string; readonly content: string }[];
  readonly runcmd: readonly (readonly string[])[];
}
const read = (input: NodeInput): CloudConfig => parse(citusCloudConfig(input)) as CloudConfig;
const contentOf = (input: NodeInput, path: string): string =>
  read(input).write_files.find((file) => file.path === path)?.content ?? "";
const has = (program: string): boolean => spawnSync(program, ["--version"]).status === 0;

describe.each(["etcd", "citus"] as const)("what an instance of %s begins with", (kind) => {
  it("fits into AWS's user data, and comes out as it went in", () => {
    const packed = Buffer.from(citusUserData(inputs()[kind]), "base64");
    expect(packed.length).toBeLessThan(MOST_USER_DATA_BYTES);
    expect(gunzipSync(packed).toString()).toBe(citusCloudConfig(inputs()[kind]));
    expect(citusUserData(inputs()[kind])).toBe(citusUserData(inputs()[kind]));
  });

  it("is cloud-init's YAML, lets nobody log in, and runs one program", () => {
    const text = citusCloudConfig(inputs()[kind]);
    expect(text.startsWith("#cloud-config\n")).toBe(true);
    expect(read(inputs()[kind])).toMatchObject({ users: [], runcmd: [["/usr/local/bin/cgraph-install"]] });
  });

  it("is a script that sh understands, each of them", () => {
    for (const { path, permissions, content } of read(inputs()[kind]).write_files) {
      if (!content.startsWith("#!/bin/sh")) continue;
      expect(permissions, path).toBe("0755");
      execFileSync("sh", ["-n"], { input: content });
    }
  });

  it.skipIf(!has("shellcheck"))("is a script that shellcheck has nothing to say of", () => {
    for (const { path, content } of read(inputs()[kind]).write_files) {
      if (!path.startsWith("/usr/local/bin/") || !content.startsWith("#!/bin/sh")) continue;
      // What stands behind a directive is for people; and what is read by others has no first line that says which shell.
      const input = content.replace(/(shellcheck disable=[A-Z0-9,]+) --.*/g, "$1");
      const said = spawnSync(
        "shellcheck",
        ["--shell=sh", "--severity=warning", "--exclude=SC1090,SC1091,SC2034,SC2154,SC2209", "-"],
        { input },
      );
      expect(said.stdout.toString(), path).toBe("");
    }
  });

  it("writes variables that a shell and systemd read alike", () => {
    const env = contentOf(inputs()[kind], "/etc/cgraph/node.env");
    for (const line of env.trim().split("\n")) expect(line).toMatch(/^[A-Z_]+="[^"$`\\]*"$/);
    const shown = 'echo "$CGRAPH_ETCD_MEMBERS"; echo "$CGRAPH_VOLUME"';
    const said = execFileSync("sh", ["-eu"], { input: `${env.replace(/^PATH=.*\n/, "")}${shown}\n` });
    expect(said.toString()).toBe(
      "etcd0.unit.cgraph.internal etcd1.unit.cgraph.internal etcd2.unit.cgraph.internal\nvol-0123456789abcdef0\n",
    );
  });

  it("calls only programs that it brings, or that its packages have", () => {
    const files = read(inputs()[kind]).write_files;
    const brought = new Set(files.map(({ path }) => path.split("/").at(-1)));
    const started = files
      .filter(({ path }) => path.startsWith("/etc/systemd/"))
      .flatMap(({ content }) => [...content.matchAll(/^ExecStart=\/usr\/local\/bin\/(\S+)/gm)].map(([, name]) => name));
    for (const name of started) expect(brought).toContain(name);
    for (const unit of (/CGRAPH_UNITS="(.*)"/.exec(contentOf(inputs()[kind], "/etc/cgraph/node.env"))?.[1] ?? "").split(
      " ",
    )) {
      const ours = brought.has(unit) || files.some(({ path }) => path.includes(`/${unit}.d/`));
      expect(ours, unit).toBe(true);
    }
  });
});

describe("a node's user data", () => {
  it("holds no password, and names the package of the Citus project", () => {
    const text = citusCloudConfig(inputs().citus);
    expect(text).not.toMatch(/password:|SCRAM-SHA-256\$|cipher-pass/);
    expect(text).toContain(`CGRAPH_CITUS_PACKAGE=\\"${CITUS_PACKAGE}\\"`.replaceAll("\\", ""));
  });

  it("has the certificate's names in the order that pg_ident.conf and clients need", () => {
    expect(contentOf(inputs().citus, "/etc/cgraph/node.env")).toContain(
      'CGRAPH_TLS_NAMES="coordinator-pg0,coordinator-pg0.unit.cgraph.internal,database.unit.cgraph.internal,localhost"',
    );
  });

  it("formats a volume only where there is nothing on it", () => {
    const script = contentOf(inputs().citus, "/usr/local/bin/cgraph-node");
    const decide = (code: number): string => {
      const part = /code=0\n[\s\S]*?esac/.exec(script)?.[0] ?? "";
      const fakes = `blkid() { return ${code}; }; mkfs.ext4() { echo formatted; }; die() { echo "stopped: $*"; exit 1; }; device=x; CGRAPH_VOLUME=vol-1`;
      // A function's name may not have a dot in every shell.
      const text = `${fakes}\n${part}`.replaceAll("mkfs.ext4", "mkfs_ext4");
      return spawnSync("sh", ["-eu"], { input: text }).stdout.toString().trim();
    };
    expect(decide(0)).toBe("");
    expect(decide(2)).toBe("formatted");
    expect(decide(4)).toMatch(/^stopped:/);
    expect(decide(8)).toMatch(/^stopped:/);
  });
});

describe("files of a node that are shared with Docker", () => {
  it("are as before there", () => {
    expect(citusHbaRules("dev", ["cgraph-dev-haproxy"])).toContain(
      "hostssl replication  replicator,replicator_b  samenet  scram-sha-256",
    );
    expect(
      citusHbaRules("dev", ["cgraph-dev-haproxy"]).filter((rule) => rule.includes("cgraph-dev-haproxy.")),
    ).toHaveLength(1);
  });

  it("let nodes in by their certificates, from their own addresses only, before clients by passwords", () => {
    const rules = citusRules("10.20.128.0/18", []);
    expect(rules.join("\n")).not.toContain("samenet");
    const cert = rules.findIndex((rule) => / cert /.test(rule));
    expect(rules[cert]).toMatch(/postgres,.* 10\.20\.128\.0\/18 {2}cert map=cgraph_nodes$/);
    expect(rules.findIndex((rule) => /^hostssl cgraph_production.* all {2}scram/.test(rule))).toBeGreaterThan(cert);
  });

  it("have addresses that follow the node's name", () => {
    const login = { username: "replicator", password: "p" };
    const yaml = (domain?: string) =>
      patroniYaml({
        ...{
          scope: "s",
          node: "worker1-pg0",
          etcdMembers: ["etcd0"],
          postgresVersion: 17,
          replication: login,
          rewind: login,
        },
        ...{ bootstrap: "initdb", regional: false, cluster: {}, ...(domain !== undefined && { domain }) },
      });
    expect(parse(yaml("unit.cgraph.internal"))).toMatchObject({
      name: "worker1-pg0",
      restapi: { connect_address: "worker1-pg0.unit.cgraph.internal:8008" },
      postgresql: { connect_address: "worker1-pg0.unit.cgraph.internal:5432" },
    });
    expect(parse(yaml())).toMatchObject({ postgresql: { connect_address: "worker1-pg0:5432" } });
  });

  it("have PgBouncer verify the servers by the authority that it is given", () => {
    const ini = (authorities?: string) =>
      pgbouncerIni({
        ...{ write: { hosts: ["a"], port: 5432 }, read: { hosts: ["a"], port: 5433 }, auth: "file" },
        ...{ maxClientConnections: 10, poolSize: 1, reserveSize: 1, authorities },
      });
    expect(ini("/tmp/a.crt")).toContain("server_tls_ca_file = /tmp/a.crt");
    expect(ini()).toContain("server_tls_ca_file = /usr/local/share/cgraph/rds-ca.pem");
    expect(ini()).toContain("cgraph_production_ro = host=a port=5433");
  });
});
