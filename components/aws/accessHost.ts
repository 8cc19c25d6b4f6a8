import * as autoscaling from "@pulumi/aws/autoscaling/index.js";
import * as ec2 from "@pulumi/aws/ec2/index.js";
import * as iam from "@pulumi/aws/iam/index.js";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";
import { assumedBy } from "./policies.ts";

/** Amazon Linux 2023 as AWS publishes it: it brings Session Manager's agent. Resolved whenever a host starts. */
const IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64";

/** The name by which commands find the host. */
export const accessHostName = (stack: string): string => awsName(stack, "access");

/**
 * A small server in the private subnets through which people reach the database: Session Manager forwards a port of
 * theirs through it. Nobody logs in to it, it has no open port, no key and no data; one that is lost is made anew.
 */
export function accessHost(site: AwsSite): void {
  const child = { parent: site, provider: site.provider };
  const role = new iam.Role("access", { assumeRolePolicy: assumedBy("ec2.amazonaws.com") }, child);
  new iam.RolePolicyAttachment(
    "access",
    { role: role.name, policyArn: "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore" },
    child,
  );
  const profile = new iam.InstanceProfile("access", { role: role.name }, child);
  const name = accessHostName(site.stack);
  const template = new ec2.LaunchTemplate(
    "access",
    {
      name,
      imageId: IMAGE,
      instanceType: "t4g.nano",
      updateDefaultVersion: true,
      iamInstanceProfile: { arn: profile.arn },
      vpcSecurityGroupIds: [site.network.clientGroupId],
      // No credentials for whoever makes the host fetch an address.
      metadataOptions: { httpEndpoint: "enabled", httpTokens: "required", httpPutResponseHopLimit: 1 },
      blockDeviceMappings: [
        {
          deviceName: "/dev/xvda",
          ebs: { volumeSize: 8, volumeType: "gp3", encrypted: "true", deleteOnTermination: "true" },
        },
      ],
      tagSpecifications: [{ resourceType: "instance", tags: { Name: name, "cgraph:stack": site.stack } }],
    },
    child,
  );
  new autoscaling.Group(
    "access",
    {
      name,
      minSize: 1,
      maxSize: 1,
      desiredCapacity: 1,
      vpcZoneIdentifiers: site.network.subnetIds.slice(0, 1),
      launchTemplate: { id: template.id, version: "$Latest" },
      healthCheckType: "EC2",
    },
    child,
  );
}
