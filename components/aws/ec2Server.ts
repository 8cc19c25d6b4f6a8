import * as ebs from "@pulumi/aws/ebs/index.js";
import * as ec2 from "@pulumi/aws/ec2/index.js";
import * as route53 from "@pulumi/aws/route53/index.js";
import * as ssm from "@pulumi/aws/ssm/index.js";
import * as pulumi from "@pulumi/pulumi";
import type { Ec2Node } from "../../stacks/aws/citusPlan.ts";
import { type NodeInput, citusUserData } from "./citusCloudInit.ts";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";

/** What every server of a stack on EC2 has. */
export interface ServerPlace {
  readonly site: AwsSite;
  /** By zone. */
  readonly subnetIds: readonly pulumi.Output<string>[];
  /** A template that names the image where none is given. */
  readonly template: ec2.LaunchTemplate;
  readonly ami: string | undefined;
  readonly zoneId: pulumi.Output<string>;
  readonly domain: string;
}

type Plain<T> = T extends unknown ? Omit<T, "stack" | "region" | "name" | "domain" | "volumeId"> : never;

export interface Ec2ServerArgs extends ServerPlace {
  readonly node: Ec2Node;
  readonly profileName: pulumi.Output<string>;
  readonly securityGroupId: pulumi.Output<string>;
  /** What its user data is made of, beside what the place says. */
  readonly input: pulumi.Output<Plain<NodeInput>>;
}

export interface Ec2Server {
  readonly node: Ec2Node;
  /** Of the instance that is there now. */
  readonly instanceId: pulumi.Output<string>;
  /** What is there once the server does its work: the next one waits for it. */
  readonly working: pulumi.Resource;
}

const ROOT_GIB = 20;
/** A script's longest time at Systems Manager is an hour; its own is less (cgraph-node-ready). */
const [WAIT_SECONDS, SCRIPT_SECONDS] = [3600, 3300];
const DEVICE = "/dev/sdf";

/**
 * A server on EC2: an instance that may be replaced at any time, and a volume with its data that outlives it. Whatever
 * instance is there has the node's address. `after`: what has to work before this one is made or replaced.
 */
export function ec2Server(args: Ec2ServerArgs, after: readonly pulumi.Resource[], parent: pulumi.Resource): Ec2Server {
  const { site, node, domain } = args;
  const { name, zone, address, volume } = node;
  const { stack, region } = site;
  const child = { parent };
  const tags = { Name: awsName(stack, name) };
  const data = new ebs.Volume(
    `${name}-data`,
    {
      availabilityZone: site.network.zones?.[zone] ?? "",
      ...{ type: "gp3", size: volume.sizeGiB, iops: volume.iops, throughput: volume.throughputMiBs },
      ...{ encrypted: true, kmsKeyId: site.keyArn, finalSnapshot: true, tags },
    },
    { ...child, ...site.kept },
  );
  const record = new route53.Record(
    name,
    { zoneId: args.zoneId, name: `${name}.${domain}`, type: "A", ttl: 60, records: [address] },
    child,
  );
  const instance = new ec2.Instance(
    name,
    {
      ...(args.ami !== undefined && { ami: args.ami }),
      launchTemplate: { id: args.template.id },
      instanceType: node.class.name,
      subnetId: args.subnetIds[zone] ?? "",
      privateIp: address,
      associatePublicIpAddress: false,
      vpcSecurityGroupIds: [args.securityGroupId],
      iamInstanceProfile: args.profileName,
      // No credentials for whoever makes the server fetch an address.
      metadataOptions: { httpEndpoint: "enabled", httpTokens: "required", httpPutResponseHopLimit: 1 },
      rootBlockDevice: { volumeType: "gp3", volumeSize: ROOT_GIB, encrypted: true, kmsKeyId: site.keyArn },
      ebsOptimized: true,
      // Figures every minute, as the alarms look at them.
      monitoring: true,
      // An instance whose host fails is started on another.
      maintenanceOptions: { autoRecovery: "default" },
      userDataBase64: pulumi
        .all([args.input, data.id])
        .apply(([input, volumeId]) => citusUserData({ ...input, stack, region, name, domain, volumeId })),
      userDataReplaceOnChange: true,
      tags,
    },
    // Its address and its volume are free for the next one only when it is gone.
    { ...child, deleteBeforeReplace: true, dependsOn: [record, ...after] },
  );
  const attachment = new ec2.VolumeAttachment(
    `${name}-data`,
    { deviceName: DEVICE, volumeId: data.id, instanceId: instance.id, stopInstanceBeforeDetaching: true },
    { ...child, deleteBeforeReplace: true },
  );
  const working = new ssm.Association(
    `${name}-works`,
    {
      associationName: awsName(stack, name, "works"),
      name: "AWS-RunShellScript",
      targets: [{ key: "InstanceIds", values: [instance.id] }],
      parameters: { commands: "/usr/local/bin/cgraph-node-ready", executionTimeout: String(SCRIPT_SECONDS) },
      waitForSuccessTimeoutSeconds: WAIT_SECONDS,
    },
    // Systems Manager is waited for when an association is made, not when it changes.
    { ...child, deleteBeforeReplace: true, replaceOnChanges: ["targets"], dependsOn: [attachment] },
  );
  return { node, instanceId: instance.id, working };
}
