import { existsSync } from "node:fs";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { pluginFile } from "../../scripts/setup/pulumi.ts";
import { plugins } from "../../scripts/setup/versions.ts";
import { madeByComponents } from "../support/componentSources.ts";
import { npmSides } from "../support/npmTypes.ts";
import { pluginSides } from "../support/pluginSchema.ts";
import { type Difference, NOTHING, type Sides, differences } from "../support/shapes.ts";

/**
 * What the npm package has from later versions of Terraform's provider than 6.34, which toolchain/aws builds. The plugin
 * would drop these (or ask for what is optional by now), and no override can add them: components do without.
 */
const NEWER: Readonly<Record<string, readonly string[]>> = {
  providers: [
    "accountaccess agentregistry bedrockruntime devopsagent directoryservicedata interconnect lambdacore lambdamicrovms",
    "mailmanager resiliencehubv2 s3files uxc",
  ]
    .flatMap((services) => services.split(" "))
    .map((service) => `endpoints[].${service}`),
  "autoscaling/group": ["instanceLifecyclePolicy"],
  "cloudwatch/metricAlarm": [
    "comparisonOperator",
    "evaluationCriteria",
    "evaluationInterval",
    "evaluationPeriods",
    "warmUpConfiguration",
  ],
  "ec2/getVpc": ["ipv6CidrBlockAssociations"],
  "ec2/launchTemplate": ["networkInterfaces[].enaQueueCount"],
  "ec2/networkInterface": ["enaSrdSpecification"],
  "ec2/route": ["odbNetworkArn"],
  "ec2/routeTable": ["routes[].odbNetworkArn"],
  "ecs/service": ["hookTargetArn", "roleArn", "targetType", "timeoutConfiguration"].map(
    (name) => `deploymentConfiguration.lifecycleHooks[].${name}`,
  ),
  "ecs/taskDefinition": ["volumes[].s3filesVolumeConfiguration"],
  "elasticache/replicationGroup": ["authTokenWo", "authTokenWoVersion", "durability"],
  "elasticache/user": ["passwordsWo", "passwordsWoVersion"],
  "lambda/function": ["useResourceTimeoutForPropagation"],
  "lb/loadBalancer": ["enablePrefixForIpv6SourceNat"],
  "rds/cluster": ["autoMinorVersionUpgrade", "warningEventCategories"],
  "rds/clusterInstance": ["warningEventCategories"],
  "rds/instance": ["warningEventCategories"],
  "s3/bucket": ["bucketNamespace", "objectLockConfiguration.rule.defaultRetention.mode"],
  "secretsmanager/secret": ["type"],
  "secretsmanager/secretRotation": [
    "externalSecretRotationMetadatas",
    "externalSecretRotationRoleArn",
    "rotationEnabled",
    "rotationRules",
  ],
  "secretsmanager/secretVersion": ["secretArn"],
};
const newer = new Set(Object.entries(NEWER).flatMap(([at, paths]) => paths.map((path) => `${at}.${path}`)));

/** `ec2/route` of `aws:ec2/route:Route`. */
const short = (type: string): string => type.split(":")[1] ?? type;

const aws = plugins(["aws"]).find(({ name }) => name === "aws");
const executable = aws ? pluginFile(aws) : "";
const sides = existsSync(executable) ? await pluginSides(executable) : new Map<string, () => Sides>();
// The official plugin has some 1,500 resources, and the npm package is made from its schema; ours has a few.
const why =
  sides.size === 0 ? "the aws plugin is not installed" : sides.size > 300 ? "the aws plugin is the official one" : "";

describe("the aws plugin that we build", () => {
  beforeEach(({ skip }) => skip(why !== "", why));
  const inputs: Difference[] = [];
  const outputs: Difference[] = [];
  const made = madeByComponents();
  beforeAll(() => {
    for (const [type, ofPlugin] of why === "" ? sides : []) {
      const plugin = ofPlugin();
      const npm = npmSides(type);
      if (!npm) inputs.push({ path: short(type), plugin: type, npm: NOTHING });
      inputs.push(...differences(short(type), plugin.inputs, npm?.inputs ?? plugin.inputs));
      outputs.push(...differences(short(type), plugin.outputs, npm?.outputs ?? plugin.outputs));
    }
  });

  it("has every resource that a component makes", () => {
    const types = new Set(made.map(({ type }) => type));
    expect(types.size).toBeGreaterThan(20);
    expect([...types].filter((type) => !sides.has(type))).toEqual([]);
  });

  it.each([
    ["takes", inputs],
    ["gives", outputs],
  ])("%s the properties that the npm package declares, or these are newer", (_, found) => {
    const messages = found
      .filter(({ path }) => !newer.has(path))
      .map(({ path, plugin, npm }) => `${path}: plugin says ${plugin}, npm says ${npm}`);
    expect(messages).toEqual([]);
  });

  it("differs in everything that the list of newer properties has", () => {
    const differing = new Set([...inputs, ...outputs].map(({ path }) => path));
    expect([...newer].filter((path) => !differing.has(path))).toEqual([]);
  });

  it("is sent no property that it would drop", () => {
    const dropped = inputs.filter(({ plugin }) => plugin === NOTHING).map(({ path }) => path);
    const sent = made.flatMap(({ file, type, properties }) =>
      dropped
        .filter((path) => {
          const [at, ...names] = path.replaceAll("[]", "").split(".");
          return at === short(type) && names.every((name) => properties.has(name));
        })
        .map((path) => `${file}: ${path}`),
    );
    expect(sent).toEqual([]);
  });
});
