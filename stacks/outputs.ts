/** What a stack tells the commands that operate it. */
import type * as pulumi from "@pulumi/pulumi";
import type { RoleName } from "../components/roles.ts";
import { confText } from "../tuning/setting.ts";
import type { Target } from "./config.ts";
import type { StageNumber } from "./guide.ts";
import type { PostgresNode } from "./topology.ts";

/** One server, as `status --json` shows it. */
export interface NodeOutput {
  readonly name: string;
  readonly role: string;
  readonly host: string;
  readonly port: number;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly image: string;
  /** Values as in postgresql.conf. */
  readonly settings: Readonly<Record<string, string>>;
  /** Docker: the container's and the data volume's name. */
  readonly container: string;
  readonly dataVolume: string;
}

/** Plain values of a stack's outputs. */
export interface StackValues {
  readonly stage: StageNumber;
  readonly target: Target;
  readonly postgresVersion: number;
  readonly nodes: readonly NodeOutput[];
  readonly backupContainer: string;
  readonly notes: readonly string[];
  /** Secret. */
  readonly passwords: Readonly<Record<RoleName, string>>;
  /** Secret. */
  readonly backupKey: string;
}

type Promised<T> = T extends readonly (infer U)[] ? pulumi.Input<readonly pulumi.Input<U>[]> : pulumi.Input<T>;
export type StackOutputs = { readonly [K in keyof StackValues]: Promised<StackValues[K]> };

export function describeNode(
  node: PostgresNode,
  place: Pick<NodeOutput, "host" | "port" | "container" | "dataVolume" | "image">,
): NodeOutput {
  return {
    name: node.name,
    role: node.role,
    cpus: node.hardware.cpus,
    memoryMiB: node.hardware.memoryMiB,
    settings: Object.fromEntries(Object.entries(node.settings).map(([name, setting]) => [name, confText(setting)])),
    ...place,
  };
}
