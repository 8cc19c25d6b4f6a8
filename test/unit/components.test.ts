import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { readConfig } from "../../stacks/config.ts";
import { planTopology } from "../../stacks/topology.ts";
import { confText } from "../../tuning/setting.ts";

interface Made {
  readonly type: string;
  readonly name: string;
  readonly inputs: Record<string, unknown>;
  readonly protect?: boolean;
  readonly retainOnDelete?: boolean;
  readonly deleteBeforeReplace?: boolean;
}

const made: Made[] = [];
const options = new Map<string, pulumi.CustomResourceOptions>();
const config = readConfig((key) => ({ dataGenerations: "[1, 2]", port: "15432" })[key]);
const topology = planTopology(config, { cpus: 4, memoryMiB: 16_384 });

/** The inputs of a resource, all of them known: assertions never sit in an apply that nobody awaits. */
const resource = (name: string): Made => {
  const found = made.find((one) => one.name === name);
  if (!found) throw new Error(`no resource ${name} among ${made.map((one) => one.name).join(", ")}`);
  return found;
};
const inputsOf = (name: string): Record<string, unknown> => resource(name).inputs;
const uploaded = (name: string, file: string): string => {
  const uploads = inputsOf(`${name}-config-writer`)["uploads"] as { file: string; content: string }[];
  return uploads.find((upload) => upload.file === `/run/cgraph-config/${file}`)?.content ?? "";
};

beforeAll(async () => {
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, id }) => {
        made.push({ type, name, inputs: inputs as Record<string, unknown>, ...options.get(`${type} ${name}`) });
        const outputs: Record<string, unknown> = { ...(inputs as Record<string, unknown>) };
        if (type === "random:index/randomPassword:RandomPassword") outputs["result"] = `${name}-secret`;
        if (type === "random:index/randomId:RandomId") outputs["hex"] = "0123456789abcdef";
        if (type === "docker:index/remoteImage:RemoteImage") outputs["imageId"] = "sha256:image";
        return { id: id ?? `${name}-id`, state: outputs };
      },
      call: ({ inputs }) => inputs as Record<string, unknown>,
    },
    "cgraph",
    "unit",
  );
  const { stage1 } = await import("../../stacks/stage1.ts");
  await pulumi.runtime.runInPulumiStack(async () => {
    pulumi.runtime.registerStackTransformation(({ type, name, opts, props }) => {
      options.set(`${type} ${name}`, opts);
      return { props, opts };
    });
    return stage1("unit", config, topology);
  });
  await pulumi.runtime.disconnect();
});

describe("stage 1 in Docker", () => {
  it("is one server, its schedule of backups, and what they stand on", () => {
    const count = (type: string) => made.filter((resource) => resource.type === type).length;
    const containers = made.filter(({ type }) => type === "docker:index/container:Container").map(({ name }) => name);
    expect(containers.sort()).toEqual(["backup", "pg0", "pg0-config-writer"]);
    expect(count("docker:index/network:Network")).toBe(1);
    expect(count("docker:index/remoteImage:RemoteImage")).toBe(1);
  });

  it("uses the newest data volume and keeps the older one", () => {
    const mounts = inputsOf("pg0")["volumes"] as { volumeName: string; containerPath: string }[];
    expect(mounts.find((mount) => mount.containerPath === "/var/lib/postgresql")?.volumeName).toBe(
      "cgraph-unit-pg0-data-2",
    );
    expect(inputsOf("pg0-data")["name"]).toBe("cgraph-unit-pg0-data");
  });

  it("protects and retains everything that holds data or opens it", () => {
    for (const name of ["pg0-data", "pg0-data-2", "tls"]) {
      expect(resource(name), name).toMatchObject({ protect: true, retainOnDelete: true });
    }
    expect(made.find((one) => one.inputs["name"] === "cgraph-unit-backups")).toMatchObject({
      protect: true,
      retainOnDelete: true,
    });
    const secrets = made.filter((one) => one.type.startsWith("random:"));
    expect(secrets).toHaveLength(10);
    for (const secret of secrets) expect(secret, secret.name).toMatchObject({ protect: true });
  });

  it("removes a container with a data directory before its successor comes, with time for a clean shutdown", () => {
    expect(resource("pg0").deleteBeforeReplace).toBe(true);
    expect(inputsOf("pg0")).toMatchObject({ stopSignal: "SIGINT", destroyGraceSeconds: 120 });
  });

  it("publishes one port, on 127.0.0.1 only", () => {
    expect(inputsOf("pg0")["ports"]).toEqual([{ internal: 5432, external: 15432, ip: "127.0.0.1" }]);
    expect(inputsOf("backup")["ports"]).toBeUndefined();
    expect(inputsOf("backup")["networkMode"]).toBe("none");
  });

  it("keeps settings out of the server's container: changing one replaces only what writes them", () => {
    const server = JSON.stringify(inputsOf("pg0"));
    expect(inputsOf("pg0")["uploads"]).toBeUndefined();
    expect(server).not.toContain("work_mem");
    expect(inputsOf("pg0-config-writer")).toMatchObject({ mustRun: false, networkMode: "none", restart: "no" });
  });

  it("writes the tuned settings to postgresql.conf", () => {
    const conf = uploaded("pg0", "postgresql.conf");
    for (const [name, setting] of Object.entries(topology.nodes[0]?.settings ?? {})) {
      expect(conf).toContain(`\n${name} = '${confText(setting)}'\n`);
    }
    expect(conf).toContain("\nssl = 'on'\n");
  });

  it("lets in nobody without TLS and scram, and the superuser only through the socket", () => {
    const rules = uploaded("pg0", "pg_hba.conf")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    expect(rules.filter((rule) => !rule.startsWith("hostssl"))).toEqual([
      "local   all  postgres  peer",
      "local   replication  replicator,replicator_b  scram-sha-256",
    ]);
    expect(rules.filter((rule) => rule.startsWith("hostssl")).every((rule) => rule.endsWith("scram-sha-256"))).toBe(
      true,
    );
  });

  it("gives containers no password: not in their environment, command or files", () => {
    for (const name of ["pg0", "backup"]) {
      expect(JSON.stringify({ ...inputsOf(name), uploads: [] })).not.toMatch(/-secret/);
    }
    expect(uploaded("pg0", "roles.sql")).not.toMatch(/-secret/);
    expect(uploaded("pg0", "roles.sql")).toMatch(/PASSWORD 'SCRAM-SHA-256\$4096:/);
  });

  it("bounds memory without swap, and logs", () => {
    expect(inputsOf("pg0")).toMatchObject({ memory: 4096, memorySwap: 4096, cpus: "2.0" });
    expect(inputsOf("pg0")["logOpts"]).toEqual({ "max-size": "50m", "max-file": "4" });
  });
});
