import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Target } from "../../stacks/config.ts";
import { ROOT } from "../lib/paths.ts";

/** Version of the Pulumi CLI that is downloaded or built where none is installed. */
export const PULUMI_VERSION = "3.258.0";
/** Toxiproxy, between regions in Docker: the same in toolchain/toxiproxy. */
export const TOXIPROXY_VERSION = "2.12.0";
/** The oldest installed CLI that is taken as it is: the first whose `destroy` knows --exclude-protected for stacks made here. */
export const PULUMI_MINIMUM = [3, 200, 0] as const;
/** Go that the toolchain builds with. */
export const GO_MINIMUM = [1, 25] as const;

export interface Plugin {
  readonly name: "aws" | "docker" | "random";
  readonly version: string;
}

/** The resource plugins that targets need, in the versions of the npm packages that speak to them. */
export function plugins(targets: readonly Target[] = ["docker"]): Plugin[] {
  return ([...targets, "random"] as const).map((name) => {
    const file = join(ROOT, "node_modules", "@pulumi", name, "package.json");
    const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
    return { name, version };
  });
}

/** Compares dotted versions number by number: negative, zero or positive. */
export function compareVersions(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

export const parseVersion = (text: string): number[] =>
  (/(\d+(?:\.\d+)+)/.exec(text)?.[1] ?? "0").split(".").map(Number);
