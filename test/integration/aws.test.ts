import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Change } from "../../migration/change.ts";
import { effectOf, unsafeOf, verdictOf } from "../../migration/verdict.ts";
import { planOf } from "../../scripts/lib/plan.ts";
import { violations } from "../../scripts/lib/policy.ts";
import { costOf } from "../../stacks/aws/cost.ts";
import { planAws } from "../../stacks/aws/plan.ts";
import { alarmCount } from "../../stacks/aws/alarms.ts";
import { readConfig } from "../../stacks/config.ts";
import type { RdsParameter } from "../../tuning/rds.ts";
import { cgraph, cgraphOk } from "../support/cli.ts";
import { type Exported, type OfflineAws, type Resource, inputsOf, openOfflineAws } from "../support/offlineAws.ts";
import { schemaErrors } from "../support/previewSchema.ts";

const RDS = "aws:rds/instance:Instance";

/** One stack moves from stage to stage. */
let offline: OfflineAws;

beforeAll(async () => {
  offline = await openOfflineAws("test-aws");
});
afterAll(() => offline.close());

/** What holds of every stage: planned without an error, made, and as its plan says. */
const asPlanned = (stage: number): void => {
  let before: Change[];
  let all: Resource[];

  it("is planned by the real plugin without an error or a warning, and touches no data", async () => {
    await offline.configure({ stage: String(stage) });
    const { changes, warnings } = await offline.plan();
    before = changes;
    expect(warnings).toEqual([]);
    const stateful = changes.filter((change) => change.stateful && change.op !== "create");
    expect(stateful.map(({ op }) => op)).toEqual(stateful.map(() => "update"));
    expect(verdictOf(changes)).not.toBe("unsafe");
    expect(changes.length).toBeGreaterThan(0);
  });

  it("shows no change once it is there", async () => {
    await offline.stack.up();
    all = await offline.resources();
    expect(await offline.plan()).toEqual({ changes: [], warnings: [] });
    expect(before.length).toBeGreaterThan(0);
  });

  it("has the servers, classes and storage of the stage", () => {
    const { nodes } = planAws(readConfig((key) => ({ target: "aws", stage: String(stage) })[key]));
    expect(
      all
        .filter(({ type }) => type === RDS)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(nodes.map(({ name }) => name).sort());
    const primary = inputsOf(all, RDS, "pg0");
    expect(primary).toMatchObject({
      instanceClass: nodes[0]?.class.name,
      allocatedStorage: nodes[0]?.storageGiB,
      maxAllocatedStorage: nodes[0]?.maxStorageGiB,
      storageType: "gp3",
      storageEncrypted: true,
      publiclyAccessible: false,
      multiAz: stage > 1,
      backupRetentionPeriod: 7,
      deletionProtection: true,
      skipFinalSnapshot: false,
      engineVersion: "17",
      dbName: "cgraph_production",
      iamDatabaseAuthenticationEnabled: true,
      enabledCloudwatchLogsExports: ["postgresql", "upgrade"],
    });
    // Below 400 GiB gp3 takes no numbers of its own; above, its baseline is enough.
    expect(primary["iops"]).toBeUndefined();
    expect(primary["storageThroughput"]).toBeUndefined();
    // Four shards of two servers, and the global database's: each primary is made alike, each replica follows its own.
    expect(nodes.filter(({ role }) => role === "primary")).toHaveLength(stage === 4 ? 5 : 1);
    for (const { name, cluster } of nodes.filter(({ role }) => role === "primary")) {
      expect(inputsOf(all, RDS, name), name).toMatchObject({
        dbName: "cgraph_production",
        multiAz: stage > 1,
        finalSnapshotIdentifier: `cgraph-${offline.stack.name}-${cluster === null ? "" : `${cluster}-`}pg0-final`,
      });
    }
    for (const { name, cluster } of nodes.filter(({ role }) => role === "replica")) {
      const replica = inputsOf(all, RDS, name);
      expect(replica["replicateSourceDb"], name).toBe(
        `cgraph-${offline.stack.name}-${cluster === null ? "" : `${cluster}-`}pg0`,
      );
      for (const key of ["username", "password", "dbName", "allocatedStorage", "backupRetentionPeriod"]) {
        expect(replica[key], `${name} ${key}`).toBeUndefined();
      }
    }
  });

  it("gives every server its tuned parameters, for the family of its version", () => {
    const { nodes } = planAws(readConfig((key) => ({ target: "aws", stage: String(stage) })[key]));
    for (const node of nodes) {
      const group = inputsOf(all, "aws:rds/parameterGroup:ParameterGroup", `${node.name}-parameters`);
      expect(group["family"]).toBe("postgres17");
      const parameters = (group["parameters"] as RdsParameter[]).map(({ name, value, applyMethod }) => ({
        name,
        value,
        applyMethod,
      }));
      expect(parameters).toEqual(node.parameters);
    }
  });

  it("lets in only those who join the clients' group, keeps every rule, and keeps what holds data", () => {
    const rules = all.filter(({ type }) => type === "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule");
    // Of AWS's own services, the database, the pool and the cache; the pool's tasks take their balancer's calls only.
    const ports = rules.map(
      ({ name, inputs }) => `${name} ${String(inputs["referencedSecurityGroupId"]).split("-")[0]}`,
    );
    expect(ports.sort()).toEqual(
      [
        ...(stage > 2 ? ["cache-6379-0 clients"] : []),
        "database-5432-0 clients",
        ...(stage === 4 ? ["database-5432-servers database"] : []),
        "endpoints-443-0 clients",
        ...(stage > 1 ? ["pool-6432-0 clients", "pool-tasks-6432-0 pool"] : []),
      ].sort(),
    );
    expect(violations(all)).toEqual([]);
    for (const one of all.filter(({ type }) => [RDS, "aws:kms/key:Key"].includes(type))) {
      expect({ name: one.name, protect: one.protect }).toEqual({ name: one.name, protect: true });
    }
  });

  it("runs the pool over the zones from stage 2 on, with verifiers and no password", () => {
    const { pool } = planAws(readConfig((key) => ({ target: "aws", stage: String(stage) })[key]));
    expect(pool === undefined).toBe(stage === 1);
    if (pool?.kind !== "pgbouncer") {
      expect(all.filter(({ type }) => type.startsWith("aws:ecs/"))).toEqual([]);
      return;
    }
    const task = inputsOf(all, "aws:ecs/taskDefinition:TaskDefinition", "pool");
    const [container] = JSON.parse(task["containerDefinitions"] as string) as {
      stopTimeout: number;
      secrets: { name: string }[];
    }[];
    expect(container?.stopTimeout).toBe(120);
    expect(container?.secrets.map(({ name }) => name)).toEqual(["CGRAPH_PGBOUNCER_INI", "CGRAPH_USERLIST"]);
    expect(inputsOf(all, "aws:ecs/service:Service", "pool")).toMatchObject({
      desiredCount: pool.tasks,
      launchType: "FARGATE",
      deploymentMinimumHealthyPercent: 100,
    });
    const balancer = inputsOf(all, "aws:lb/loadBalancer:LoadBalancer", "pool");
    expect(balancer).toMatchObject({ internal: true, loadBalancerType: "network" });
    expect(balancer["subnets"]).toHaveLength(3);
  });

  it("has an alarm for each watch of each server, warning and critical, and counts them in the cost", () => {
    const planned = planAws(readConfig((key) => ({ target: "aws", stage: String(stage) })[key]));
    const alarms = all.filter(({ type }) => type === "aws:cloudwatch/metricAlarm:MetricAlarm");
    expect(alarms).toHaveLength(alarmCount(planned));
    const connections = Number(planned.nodes[0]?.settings["max_connections"]?.value);
    expect(inputsOf(all, "aws:cloudwatch/metricAlarm:MetricAlarm", "pg0-connections-warning")["threshold"]).toBe(
      connections * 0.7,
    );
    for (const { inputs } of alarms) expect((inputs["alarmActions"] as string[])[0]).toMatch(/^arn:aws:/);
    expect(costOf(planned).find(({ part }) => part === "monitoring")?.what).toContain(`${alarms.length} alarms`);
  });
};

describe.each([1, 2, 3])("stage %i on AWS", asPlanned);

describe("RDS Proxy as the pool", () => {
  it("takes PgBouncer's place, touches no data, and says that the address changes", async () => {
    await offline.configure({ stage: "3", pooler: "rds-proxy" });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    expect(changes.filter((change) => change.stateful)).toEqual([]);
    expect(verdictOf(changes)).toBe("restarts");
    const balancer = changes.find(({ type }) => type === "aws:lb/loadBalancer:LoadBalancer");
    expect(balancer && effectOf(balancer)).toMatchObject({ happens: "delete", clients: "writes pause" });
    const proxy = changes.find(({ type }) => type === "aws:rds/proxy:Proxy");
    expect(proxy?.after).toMatchObject({ engineFamily: "POSTGRESQL", requireTls: true });
    await offline.configure({ stage: "3", pooler: "pgbouncer" });
  });
});

describe("what the real plugin says of a change", () => {
  it("that a database which is no longer encrypted would be replaced: refused", async () => {
    const exported = await offline.stack.exportStack();
    // As if the instance had been made without encryption.
    const deployment = exported.deployment as { resources: Exported[] };
    const unencrypted = deployment.resources.map((one) =>
      one.type === RDS && one.urn.endsWith("::pg0")
        ? {
            ...one,
            inputs: { ...one.inputs, storageEncrypted: false },
            outputs: { ...one.outputs, storageEncrypted: false },
            protect: false,
          }
        : one,
    );
    await offline.stack.importStack({ ...exported, deployment: { ...deployment, resources: unencrypted } });
    const { changes } = await offline.plan(true);
    expect(changes.find(({ urn }) => urn.endsWith("::pg0"))?.op).toBe("replace");
    expect(verdictOf(changes)).toBe("unsafe");
    await offline.stack.importStack(exported);
  });
});

describe("copies of backups in a second region", () => {
  it("are planned by the real plugin beside what there is, each part in its region, and kept", async () => {
    await offline.configure({ stage: "3", backupCopyRegion: "eu-west-1" });
    const { changes, warnings } = await offline.plan();
    expect(warnings).toEqual([]);
    const made = changes.filter(({ type }) => !type.startsWith("pulumi:"));
    expect(made.filter(({ op }) => op !== "create")).toEqual([]);
    expect(made.map(({ urn }) => urn.split("::").at(-1)).sort()).toEqual([
      ...["backup-copies", "backup-copies-key", "backup-plan", "backup-role", "backup-role"],
      ...["backup-selection", "backup-vault"],
    ]);
    await offline.stack.up();
    expect(await offline.plan()).toEqual({ changes: [], warnings: [] });
    const all = await offline.resources();
    expect(violations(all)).toEqual([]);
    const [rule] = inputsOf(all, "aws:backup/plan:Plan", "backup-plan")["rules"] as {
      copyActions: { destinationVaultArn: string }[];
    }[];
    const region = (vault: string): unknown =>
      all.find(({ type, name }) => type === "aws:backup/vault:Vault" && name === vault)?.outputs["region"];
    expect([region("backup-vault"), region("backup-copies")]).toEqual(["us-east-1", "eu-west-1"]);
    expect(rule?.copyActions).toHaveLength(1);
    const planned = planAws(readConfig((key) => ({ target: "aws", stage: "3", backupCopyRegion: "eu-west-1" })[key]));
    expect(costOf(planned).find(({ part }) => part === "backups")).toMatchObject({ usdPerMonth: 1 });
  });
});

describe("stage 4 after stage 3, on AWS", () => {
  // Stage 3 with as many replicas as each shard has: of three, two would go, and those have to be named.
  beforeAll(async () => {
    await offline.close();
    offline = await openOfflineAws("test-shards");
    await offline.configure({ stage: "3", replicas: "1" });
    await offline.stack.up();
  }, 300_000);

  asPlanned(4);
});

describe("shards on AWS", () => {
  it("have pools of their own; the application's lead to the router database", async () => {
    const all = await offline.resources();
    const secret = inputsOf(all, "aws:secretsmanager/secretVersion:SecretVersion", "pool")["secretString"];
    // The stand-in stores secrets as they are.
    const text = typeof secret === "string" ? secret : JSON.stringify(secret);
    for (const pool of ["cgraph_global", "cgraph_shard0", "cgraph_shard3_ro"])
      expect(text).toContain(`${pool} = host=`);
    expect(text).toMatch(/cgraph_production = host=[^ ]*global-pg0[^ ]* port=5432 dbname=cgraph_router pool_size=10/);
  });

  it("may be undone only by somebody who lets their data go", async () => {
    await offline.configure({ stage: "3" });
    const { changes } = await planOf("from shards to one", offline.stack);
    expect(verdictOf(changes)).toBe("unsafe");
    // The primaries too, which Pulumi does not come to: it ends at their replicas.
    const gone = unsafeOf(changes).map(({ urn }) => urn.split("::").at(-1) ?? "");
    const others = ["global", "shard1", "shard2", "shard3"].flatMap((name) => [`${name}-pg0`, `${name}-pg1`]);
    expect(gone.sort()).toEqual(others);
    await offline.configure({ stage: "4", pooler: "rds-proxy" });
    await expect(offline.plan()).rejects.toThrow("RDS Proxy serves one primary");
    await offline.configure({ stage: "4", pooler: "pgbouncer" });
  });
});

describe("preview --offline", () => {
  it("tells a move with its cost, and says that data would go where it would", async () => {
    const up = JSON.parse(
      await cgraphOk(
        "preview",
        "--target",
        "aws",
        "--offline",
        "--stage",
        "2",
        "--from",
        "1",
        "--stack",
        "test-plan",
        "--json",
      ),
    ) as {
      from: number;
      to: number;
      verdict: string;
      steps: { id: string }[];
      cost: { usdPerMonth: number; usdPerMonthNow: number };
    };
    expect(up).toMatchObject({ from: 1, to: 2 });
    expect(schemaErrors(up)).toEqual([]);
    expect(up.steps.map(({ id }) => id)).toContain("2:replicas");
    expect(up.verdict).not.toBe("unsafe");
    expect(up.cost.usdPerMonth).toBeGreaterThan(up.cost.usdPerMonthNow);
    const down = await cgraph([
      "preview",
      "--target",
      "aws",
      "--offline",
      "--stage",
      "1",
      "--from",
      "2",
      "--stack",
      "test-plan",
    ]);
    expect(down.code).toBe(3);
    expect(down.stdout).toContain("unsafe: REFUSED");
    // Named, it may go.
    const urns = [...down.stdout.matchAll(/--allow-replace '([^']+)'/g)].map(([, urn = ""]) => urn);
    expect(urns.map((urn) => urn.split("::").at(-1))).toEqual(["pg1"]);
    const allowed = await cgraph([
      ...["preview", "--target", "aws", "--offline", "--stage", "1", "--from", "2", "--stack", "test-plan"],
      ...urns.flatMap((urn) => ["--allow-replace", urn]),
    ]);
    expect(allowed.code, allowed.stderr).toBe(0);
    expect(allowed.stdout).toContain("LOST to the stack, as allowed, is what these hold: pg1");
  });

  it("refuses what AWS would refuse before it starts anything", async () => {
    const { code, stderr } = await cgraph(["preview", "--target", "docker", "--offline", "--stack", "test-plan"]);
    expect(code).toBe(2);
    expect(stderr).toContain("--offline plans AWS only");
  });
});
