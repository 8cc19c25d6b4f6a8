import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import * as iam from "@pulumi/aws/iam/index.js";
import * as lambda from "@pulumi/aws/lambda/index.js";
import * as pulumi from "@pulumi/pulumi";
import ts from "typescript";
import type { CheckConfig } from "../../monitoring/check/handler.ts";
import { OWN_NAMESPACE } from "../../stacks/aws/alarms.ts";
import { DATABASE } from "../roles.ts";
import type { AwsSite } from "./AwsSite.ts";
import { CHECK_ROLE, awsName } from "./names.ts";
import { allow, assumedBy } from "./policies.ts";
import type { RdsServer } from "./rdsInstance.ts";

const SOURCES = join(import.meta.dirname, "..", "..", "monitoring", "check");
const RUNTIME = "nodejs22.x";
const LOG_DAYS = 7;

/** A TypeScript file as the JavaScript that the function's runtime takes. */
function compiled(file: string): string {
  const { outputText } = ts.transpileModule(readFileSync(join(SOURCES, file), "utf8"), {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2023,
      rewriteRelativeImportExtensions: true,
    },
  });
  return outputText;
}

/** A package's folder, as Node looks for it from a folder upwards. */
function packageFolder(name: string, from: string): string {
  const folder = join(from, "node_modules", name);
  if (existsSync(folder)) return folder;
  const parent = dirname(from);
  if (parent === from) throw new Error(`the package ${name} is not installed`);
  return packageFolder(name, parent);
}

/** Folders of a package and of everything that it needs, by name. */
function withDependencies(name: string, from: string, found = new Map<string, string>()): Map<string, string> {
  if (found.has(name)) return found;
  const folder = packageFolder(name, from);
  found.set(name, folder);
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    dependencies?: Record<string, string>;
  };
  for (const dependency of Object.keys(manifest.dependencies ?? {})) withDependencies(dependency, folder, found);
  return found;
}

/** The function's code: the check, and PostgreSQL's client. */
export function checkArchive(): pulumi.asset.AssetArchive {
  const files: Record<string, pulumi.asset.Asset | pulumi.asset.Archive> = {
    "package.json": new pulumi.asset.StringAsset(JSON.stringify({ type: "module" })),
  };
  for (const file of ["handler.ts", "figures.ts", "iamToken.ts"]) {
    files[file.replace(/\.ts$/, ".js")] = new pulumi.asset.StringAsset(compiled(file));
  }
  for (const [name, folder] of withDependencies("pg", import.meta.dirname)) {
    files[`node_modules/${name}`] = new pulumi.asset.FileArchive(folder);
  }
  return new pulumi.asset.AssetArchive(files);
}

/**
 * Every minute, reads from PostgreSQL itself what CloudWatch cannot see (monitoring/check). A function rather than a task:
 * its log needs no way out of the subnets, and it costs next to nothing.
 */
export function databaseCheck(site: AwsSite, servers: readonly RdsServer[], parent: pulumi.Resource): void {
  const child = { parent };
  const name = awsName(site.stack, "check");
  const role = new iam.Role("check", { assumeRolePolicy: assumedBy("lambda.amazonaws.com") }, child);
  new iam.RolePolicyAttachment(
    "check",
    { role: role.name, policyArn: "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole" },
    child,
  );
  new iam.RolePolicy(
    "check-connect",
    {
      role: role.name,
      policy: pulumi
        .all(servers.map(({ instance }) => pulumi.all([instance.arn, instance.resourceId])))
        .apply((instances) =>
          allow({
            actions: "rds-db:connect",
            resources: instances.map(([arn, resourceId]) => {
              const [, partition, , region, account] = arn.split(":");
              return `arn:${partition}:rds-db:${region}:${account}:dbuser:${resourceId}/${CHECK_ROLE}`;
            }),
          }),
        ),
    },
    child,
  );
  const logs = new cloudwatch.LogGroup("check", { name: `/aws/lambda/${name}`, retentionInDays: LOG_DAYS }, child);
  const config = pulumi
    .all(servers.map(({ name: server, address }) => address.apply((host) => ({ name: server, host }))))
    .apply((known): string =>
      JSON.stringify({
        stack: site.stack,
        namespace: OWN_NAMESPACE,
        database: DATABASE,
        role: CHECK_ROLE,
        servers: known.map((server) => ({ ...server, port: 5432 })),
      } satisfies CheckConfig),
    );
  const check = new lambda.Function(
    "check",
    {
      name,
      description: "Figures of PostgreSQL that CloudWatch cannot see",
      role: role.arn,
      runtime: RUNTIME,
      architectures: ["arm64"],
      handler: "handler.handler",
      code: checkArchive(),
      memorySize: 128,
      timeout: 50,
      vpcConfig: { subnetIds: [...site.network.subnetIds], securityGroupIds: [site.network.clientGroupId] },
      environment: { variables: { CGRAPH_CHECK: config, NODE_EXTRA_CA_CERTS: "/var/runtime/ca-cert.pem" } },
      loggingConfig: { logFormat: "Text", logGroup: logs.name },
    },
    child,
  );
  const schedule = new cloudwatch.EventRule("check", { name, scheduleExpression: "rate(1 minute)" }, child);
  new lambda.Permission(
    "check",
    {
      action: "lambda:InvokeFunction",
      function: check.name,
      principal: "events.amazonaws.com",
      sourceArn: schedule.arn,
    },
    child,
  );
  new cloudwatch.EventTarget("check", { rule: schedule.name, arn: check.arn }, child);
}
