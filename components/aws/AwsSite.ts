import * as kms from "@pulumi/aws/kms/index.js";
import { Provider, type ProviderArgs } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import { awsName } from "./names.ts";
import { Network } from "./Network.ts";

export interface AwsSiteArgs {
  /** The Pulumi stack; part of every name. */
  readonly stack: string;
  readonly region: string;
  /** The stack's own VPC, or an existing one. */
  readonly network:
    | { readonly cidr: string; readonly zones: number }
    | { readonly vpcId: string; readonly subnetIds: readonly string[] };
  /** Addresses outside of the VPC that may connect. */
  readonly clientCidrs: readonly string[];
  /** Whether what holds data is protected, and stays when the stack is destroyed. */
  readonly keepData: boolean;
  /** What its resources' names in Pulumi begin with, where a stack has several sites; default nothing. */
  readonly prefix?: string;
  /**
   * Whether all data here is a copy of what another region has: it is protected too, but goes once somebody lets it go,
   * with the network that it stands on. Default false.
   */
  readonly holdsCopies?: boolean;
}

/** What all of a stack's parts in one region share: the provider, the network, the key that encrypts them. */
export class AwsSite extends pulumi.ComponentResource {
  readonly stack: string;
  readonly region: string;
  /** What its resources' names in Pulumi begin with. */
  readonly prefix: string;
  readonly network: Network;
  readonly keyArn: pulumi.Output<string>;
  /** Options of what holds data or opens it. */
  readonly kept: Pick<pulumi.CustomResourceOptions, "protect" | "retainOnDelete">;
  /** For resources that are no component's children. */
  readonly provider: Provider;

  constructor(name: string, args: AwsSiteArgs, opts?: pulumi.ComponentResourceOptions) {
    super("cgraph:aws:Site", name, {}, opts);
    this.stack = args.stack;
    this.region = args.region;
    const { prefix = "", holdsCopies = false } = args;
    this.prefix = prefix;
    this.kept = { protect: args.keepData, retainOnDelete: args.keepData && !holdsCopies };
    this.provider = new Provider(
      `${prefix}aws`,
      {
        region: args.region as NonNullable<ProviderArgs["region"]>,
        defaultTags: { tags: { "cgraph:stack": args.stack, "cgraph:managed-by": "pulumi" } },
      },
      { parent: this },
    );
    const inRegion = { parent: this, provider: this.provider };
    const key = new kms.Key(
      `${prefix}key`,
      {
        description: `Data of CGraph's database, stack ${args.stack}`,
        enableKeyRotation: true,
        // A key that is gone takes its data with it: a month to notice.
        deletionWindowInDays: 30,
        tags: { Name: awsName(args.stack) },
      },
      { ...inRegion, ...this.kept },
    );
    new kms.Alias(`${prefix}key-alias`, { name: `alias/${awsName(args.stack)}`, targetKeyId: key.keyId }, inRegion);
    this.keyArn = key.arn;
    this.network = new Network(
      `${prefix}network`,
      { stack: args.stack, region: args.region, clientCidrs: args.clientCidrs, prefix, ...args.network },
      { parent: this, providers: [this.provider] },
    );
    this.registerOutputs({ keyArn: this.keyArn });
  }
}
