/** What a stack on AWS tells the commands that operate it. */
import type { RoleName } from "../../components/roles.ts";
import type { StageNumber } from "../guide.ts";
import type { Promised } from "../outputs.ts";
import type { CostLine } from "./cost.ts";

export interface AwsNodeOutput {
  readonly name: string;
  /** What it was at first. */
  readonly role: string;
  readonly host: string;
  readonly port: number;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly instanceClass: string;
  readonly identifier: string;
  /** Values as in postgresql.conf. */
  readonly settings: Readonly<Record<string, string>>;
}

/** Plain values of a stack's outputs. */
export interface AwsStackValues {
  readonly stage: StageNumber;
  readonly target: "aws";
  readonly region: string;
  readonly postgresVersion: number;
  readonly nodes: readonly AwsNodeOutput[];
  /** The pools' balancer, port 6432; null at stage 1. */
  readonly poolAddress: string | null;
  readonly cacheAddress: string | null;
  /** Servers of the application's join it to reach the database. */
  readonly clientSecurityGroup: string;
  readonly notes: readonly string[];
  readonly cost: readonly CostLine[];
  readonly usdPerMonth: number;
  /** Secret. */
  readonly passwords: Readonly<Record<RoleName, string>>;
  /** Secret. */
  readonly administratorPassword: string;
  /** Secret. */
  readonly cachePassword: string | null;
}

export type AwsStackOutputs = { readonly [K in keyof AwsStackValues]: Promised<AwsStackValues[K]> };
