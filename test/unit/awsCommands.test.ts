import { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { slowStatements } from "../../components/aws/slowStatements.ts";
import { ROLE_NAMES, type RoleName } from "../../components/roles.ts";
import { type Sample, figuresOf, metricLine } from "../../monitoring/check/figures.ts";
import { iamToken } from "../../monitoring/check/iamToken.ts";
import { rdsAuthorities } from "../../scripts/aws/authorities.ts";
import { environmentAws } from "../../scripts/aws/environment.ts";
import { placeOf } from "../../scripts/aws/image.ts";
import { failureOf, remedyFor } from "../../scripts/lib/failure.ts";
import type { AwsEndpoints, AwsStackValues } from "../../stacks/aws/outputs.ts";

describe("a login token of IAM", () => {
  it("is what the AWS CLI makes of the same", () => {
    const signer = {
      accessKeyId: "AKIDEXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI",
      sessionToken: "a/b+c==",
      region: "eu-west-1",
    };
    const token = iamToken("pg0.example.internal", 5432, "cgraph_check", signer, new Date("2026-11-25T00:51:33Z"));
    // aws rds generate-db-auth-token --hostname pg0.example.internal --port 5432 --username cgraph_check
    const theirs =
      "pg0.example.internal:5432/?Action=connect&DBUser=cgraph_check&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261125%2Feu-west-1%2Frds-db%2Faws4_request&X-Amz-Date=20261125T005133Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Security-Token=a%2Fb%2Bc%3D%3D&X-Amz-Signature=706b5195aa90f711de884cd37d37de8dd8badd83f80ca53c490311876e60ff46";
    const parts = (text: string): string[] => text.split(/[?&]/).sort();
    expect(parts(token)).toEqual(parts(theirs));
  });
});

describe("figures of the scheduled check", () => {
  const sample = (more: Partial<Sample>): Sample => ({
    ...{ isReplica: false, walPosition: 1000, blocksHit: 0, blocksRead: 0, deadTuples: 0, statements: 0 },
    ...more,
  });
  it("are of the time since the sample before", () => {
    const before = sample({ blocksHit: 900, blocksRead: 100, statements: 10 });
    const now = sample({ blocksHit: 990, blocksRead: 110, statements: 25, deadTuples: 7 });
    expect(figuresOf(before, now, 1000)).toEqual({
      cache_hit_ratio: 90,
      statements: 15,
      replication_lag_bytes: 0,
      dead_tuples: 7,
    });
  });
  it("begin anew where counters were reset, and say nothing of a time without a beginning", () => {
    expect(figuresOf(sample({ statements: 100 }), sample({ statements: 4 }), 1000).statements).toBe(4);
    expect(figuresOf(undefined, sample({}), 1000)).toEqual({ replication_lag_bytes: 0, dead_tuples: 0 });
    expect(figuresOf(sample({}), sample({}), 1000).cache_hit_ratio).toBe(100);
  });
  it("tell how far a replica is behind, and nothing of it while no primary answers", () => {
    const replica = sample({ isReplica: true, walPosition: 400 });
    expect(figuresOf(undefined, replica, 1000).replication_lag_bytes).toBe(600);
    expect(figuresOf(undefined, replica, 300).replication_lag_bytes).toBe(0);
    expect(figuresOf(undefined, replica, undefined).replication_lag_bytes).toBeUndefined();
  });
  it("are written in CloudWatch's embedded format", () => {
    const line = JSON.parse(metricLine("N", { Stack: "s" }, { dead_tuples: 3 }, 5)) as unknown;
    expect(line).toEqual({
      _aws: {
        Timestamp: 5,
        CloudWatchMetrics: [
          { Namespace: "N", Dimensions: [["Stack"]], Metrics: [{ Name: "dead_tuples", Unit: "Count" }] },
        ],
      },
      Stack: "s",
      dead_tuples: 3,
    });
  });
});

describe("the pattern of slow statements", () => {
  const found = (milliseconds: number, text: string): boolean =>
    new RegExp(slowStatements(milliseconds).slice(1, -1)).test(
      `UTC:10.0.0.1(5):cgraph@db:[7]:LOG:  duration: ${text}  statement: x`,
    );
  it.each([
    [500, "499.999 ms", false],
    [500, "500.000 ms", true],
    [500, "5000.1 ms", true],
    [500, "50.1 ms", false],
    [2000, "1999.9 ms", false],
    [2000, "2000.0 ms", true],
    [2000, "12000.5 ms", true],
    [2000, "999.5 ms", false],
  ])("of %i ms: %s is %s", (milliseconds, text, slow) => {
    expect(found(milliseconds, text)).toBe(slow);
  });
  it("is refused for a number that it cannot be made of", () => {
    expect(() => slowStatements(550)).toThrow("no pattern for 550");
  });
});

describe("the authorities of RDS's certificates", () => {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-authorities-"));
  let server: Server;
  let answer = { status: 200, text: "" };
  let asked = 0;
  beforeAll(async () => {
    server = createServer((_, response) => {
      asked++;
      response.writeHead(answer.status).end(answer.text);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    process.env["CGRAPH_RDS_AUTHORITIES"] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/bundle.pem`;
  });
  beforeEach(() => (asked = 0));
  afterAll(() => {
    delete process.env["CGRAPH_RDS_AUTHORITIES"];
    server.close();
    rmSync(folder, { recursive: true });
  });
  const pem = "-----BEGIN CERTIFICATE-----\nx\n";

  it("are not taken from an answer that has none, and the remedy is named", async () => {
    answer = { status: 403, text: "no" };
    await expect(rdsAuthorities(folder)).rejects.toThrow("it answers 403");
    answer = { status: 200, text: "<html>" };
    await expect(rdsAuthorities(folder)).rejects.toMatchObject({
      remedy: expect.stringContaining("CGRAPH_RDS_AUTHORITIES") as unknown,
    });
    expect(existsSync(join(folder, "rds-ca.pem"))).toBe(false);
  });
  it("are fetched once a month; old ones serve while there are no new ones", async () => {
    answer = { status: 200, text: pem };
    const file = await rdsAuthorities(folder);
    await rdsAuthorities(folder);
    expect(asked).toBe(1);
    const old = new Date(Date.now() - 40 * 24 * 3600 * 1000);
    utimesSync(file, old, old);
    answer = { status: 500, text: "" };
    expect(await rdsAuthorities(folder)).toBe(file);
    expect(readFileSync(file, "utf8")).toBe(pem);
    expect(asked).toBe(2);
  });
});

describe("how an application reaches a database on AWS", () => {
  const passwords = Object.fromEntries(ROLE_NAMES.map((role) => [role, "p"])) as Record<RoleName, string>;
  const at = (endpoints: Partial<AwsEndpoints>): Record<string, string> =>
    environmentAws(
      {
        passwords,
        cachePassword: "c",
        endpoints: { write: { host: "w", port: 5432 }, read: [], pool: null, cache: null, ...endpoints },
      } as unknown as AwsStackValues,
      "/ca.pem",
    );
  const read = [
    { host: "r1", port: 5432 },
    { host: "r2", port: 5432 },
  ];
  it("is the server itself at stage 1, whose name is verified", () => {
    expect(at({})["DATABASE_URL"]).toBe(
      "postgresql://cgraph:p@w:5432/cgraph_production?sslmode=verify-full&sslrootcert=/ca.pem",
    );
    expect(at({})["DATABASE_REPLICA_URL"]).toBeUndefined();
  });
  it("is PgBouncer for writes and reads from stage 2 on; direct reads take a replica at random", () => {
    const env = at({ read, pool: { kind: "pgbouncer", host: "pool", port: 6432 } });
    expect(env["DATABASE_URL"]).toBe("postgresql://cgraph:p@pool:6432/cgraph_production?sslmode=require");
    expect(env["DATABASE_REPLICA_URL"]).toContain("@pool:6432/cgraph_production_ro?");
    expect(env["DATABASE_READONLY_URL"]).toBe(
      "postgresql://cgraph_readonly:p@r1:5432,r2:5432/cgraph_production?sslmode=verify-full&sslrootcert=/ca.pem&load_balance_hosts=random",
    );
    expect(env["DATABASE_DIRECT_URL"]).toContain("@w:5432/");
  });
  it("with RDS Proxy, reads go to the replicas, since it serves the primary only", () => {
    const env = at({ read, pool: { kind: "rds-proxy", host: "proxy", port: 5432 } });
    expect(env["DATABASE_URL"]).toContain("@proxy:5432/cgraph_production?sslmode=verify-full&sslrootcert=system");
    expect(env["DATABASE_REPLICA_URL"]).toContain("@r1:5432,r2:5432/");
  });
});

describe("failures on AWS", () => {
  it.each([
    ["ExpiredToken: The security token included in the request is expired", "have expired"],
    ["No valid credential sources found", "log in to AWS"],
    ["Unable to locate credentials", "log in to AWS"],
    ["The config profile (work) could not be found", "log in to AWS"],
    ["UnauthorizedOperation: You are not authorized to perform this operation", "the right that it names"],
    ["InstanceQuotaExceeded: no more", "raise the quota"],
  ])("%s", (problem, remedy) => {
    expect(remedyFor(problem)).toContain(remedy);
  });
  it("are told in AWS's words, without the plugin's own", () => {
    const told = failureOf(
      [
        "  sdk-v2/provider2.go:571: sdk.helper_schema: attaching: provider=aws@7\n",
        "1 error occurred:\n\t* attaching policy: NoSuchEntity: gone\n\n",
      ],
      new Error("x"),
    );
    expect(told).toBe("attaching policy: NoSuchEntity: gone");
  });
});

describe("the name of an image", () => {
  it("is taken apart", () => {
    expect(placeOf("123.dkr.ecr.eu-west-1.amazonaws.com/cgraph-dev-services:abc")).toEqual({
      registry: "123.dkr.ecr.eu-west-1.amazonaws.com",
      repository: "cgraph-dev-services",
      tag: "abc",
    });
    expect(() => placeOf("cgraph-services")).toThrow("names no image in a registry");
  });
});
