import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Target } from "../../stacks/config.ts";
import { ROOT } from "../lib/paths.ts";
import { type Step, step } from "../lib/progress.ts";
import { findBaseImage, makeBaseImage } from "./baseImage.ts";
import { adoptDockerContext, engineVersion, startEngine } from "./engine.ts";
import { type PulumiCli, findPulumi, installPlugin, installPulumi, pluginInstalled } from "./pulumi.ts";
import { PULUMI_VERSION, plugins } from "./versions.ts";

/** What set-up found or made; what later commands need of it. */
export interface Toolchain {
  readonly pulumi: PulumiCli;
  /** Undefined where the target needs none. */
  readonly baseImage: string | undefined;
}

export interface SetupOptions {
  /** Whether packages may be installed on this machine as root; default true. */
  readonly mayInstall: boolean;
  /** What it is for: docker (default) needs an engine and a base image, aws its plugin. */
  readonly targets?: readonly Target[];
}

interface SetupStep {
  readonly title: string;
  /** What is there, in words; undefined where it is missing. */
  readonly find: () => Promise<string | undefined>;
  /** What would be done about it. */
  readonly remedy: string;
  /** Makes it and says what it made. */
  readonly make: (progress: Step) => Promise<string>;
}

/** Filled in as the steps go. */
interface Made {
  pulumi: PulumiCli | undefined;
  baseImage: string | undefined;
}

function setupSteps(options: SetupOptions, made: Made): SetupStep[] {
  const targets = options.targets ?? ["docker"];
  return [
    {
      title: "Node.js and npm packages",
      find: async () =>
        existsSync(join(ROOT, "node_modules", ".cgraph-installed")) ? `Node ${process.versions.node}` : undefined,
      remedy: "installed from the lock file by ./cgraph-db",
      make: async () => `Node ${process.versions.node}`,
    },
    {
      title: "Pulumi CLI",
      find: async () => {
        made.pulumi = await findPulumi();
        return made.pulumi && `v${made.pulumi.version}`;
      },
      remedy: `v${PULUMI_VERSION} downloaded, else built from Go modules`,
      make: async (progress) => `v${(made.pulumi = await installPulumi(progress)).version}`,
    },
    ...plugins(targets).map((plugin): SetupStep => ({
      title: `Pulumi plugin ${plugin.name}`,
      find: async () => (pluginInstalled(plugin) ? `v${plugin.version}` : undefined),
      remedy: `v${plugin.version} downloaded, else built from Go modules`,
      make: async (progress) => {
        if (!made.pulumi) throw new Error("the CLI comes before its plugins");
        await installPlugin(made.pulumi, plugin, progress);
        return `v${plugin.version}`;
      },
    })),
    ...(targets.includes("docker") ? dockerSteps(options, made) : []),
  ];
}

function dockerSteps(options: SetupOptions, made: Made): SetupStep[] {
  return [
    {
      title: "Docker engine",
      find: engineVersion,
      remedy: "started, and installed first as root on Debian or Ubuntu",
      make: (progress) => startEngine(options.mayInstall, progress),
    },
    {
      title: "Debian base image",
      find: async () => (made.baseImage = await findBaseImage()),
      remedy: "pulled, else made with debootstrap",
      make: async (progress) => (made.baseImage = await makeBaseImage(options.mayInstall, progress)),
    },
  ];
}

/** Brings everything in place that the commands need, skipping what is there. Can be repeated after an interruption. */
export async function setUp(options: SetupOptions): Promise<Toolchain> {
  const made: Made = { pulumi: undefined, baseImage: undefined };
  await adoptDockerContext();
  const steps = setupSteps(options, made);
  const first = await Promise.all(steps.map((one) => one.find()));
  for (const [index, one] of steps.entries()) {
    await step(one.title, async (progress) => {
      // What was missing at first may have come with an earlier step.
      const found = first[index] ?? (await one.find());
      const done = found ?? (await one.make(progress));
      return { value: undefined, done };
    });
  }
  if (!made.pulumi) throw new Error("set-up ended without a toolchain");
  return { pulumi: made.pulumi, baseImage: made.baseImage };
}

export interface Finding {
  readonly what: string;
  /** What was found, null where it is missing. */
  readonly found: string | null;
  /** What `setup` would do about it. */
  readonly remedy: string;
}

/** What is found and missing; changes nothing. */
export async function checkSetup(targets: readonly Target[] = ["docker"]): Promise<Finding[]> {
  const made: Made = { pulumi: undefined, baseImage: undefined };
  await adoptDockerContext();
  return Promise.all(
    setupSteps({ mayInstall: false, targets }, made).map(async ({ title, find, remedy }) => ({
      what: title,
      found: (await find()) ?? null,
      remedy,
    })),
  );
}
