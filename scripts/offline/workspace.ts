/** A stack that exists only while it is looked at: AWS planned by the real plugin, with no account and no network. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { LocalWorkspace, PulumiCommand, type Stack } from "@pulumi/pulumi/automation/index.js";
import { program } from "../../stacks/program.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { ROOT } from "../lib/paths.ts";
import { PROJECT } from "../lib/stackFiles.ts";
import { findPulumi, pluginFile } from "../setup/pulumi.ts";
import { plugins } from "../setup/versions.ts";

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** A home of Pulumi's in which the aws plugin is the stand-in in front of the real one. */
function prepareHome(home: string): void {
  for (const plugin of plugins(["aws"])) {
    if (!existsSync(pluginFile(plugin))) {
      throw new UserError(
        `the Pulumi plugin ${plugin.name} v${plugin.version} is missing`,
        "run ./cgraph-db setup --target aws",
        EXIT.failed,
      );
    }
    const folder = join(home, "plugins", `resource-${plugin.name}-v${plugin.version}`);
    const executable = join(folder, basename(pluginFile(plugin)));
    mkdirSync(folder, { recursive: true });
    if (plugin.name !== "aws") {
      symlinkSync(pluginFile(plugin), executable);
      continue;
    }
    const standin = join(import.meta.dirname, "standin.ts");
    writeFileSync(
      executable,
      `#!/bin/sh\nCGRAPH_AWS_PLUGIN=${quote(pluginFile(plugin))} exec ${quote(process.execPath)} ${quote(standin)} "$@"\n`,
    );
    chmodSync(executable, 0o755);
  }
}

/** Configuration keys without `cgraph:`, as text. */
export type OfflineConfig = Readonly<Record<string, string>>;

export interface OfflineStack {
  /** Sets configuration keys; those that it had before stay. */
  readonly configure: (config: OfflineConfig) => Promise<void>;
  readonly stack: Stack;
}

/** Makes a stack of this name with nothing in it, works with it, and forgets it. */
export async function withOfflineStack<T>(name: string, work: (offline: OfflineStack) => Promise<T>): Promise<T> {
  const cli = await findPulumi();
  if (!cli) throw new UserError("the Pulumi CLI is missing", "run ./cgraph-db setup --target aws", EXIT.failed);
  const folder = mkdtempSync(join(tmpdir(), "cgraph-offline-"));
  try {
    const home = join(folder, "home");
    const state = join(folder, "state");
    mkdirSync(state, { recursive: true });
    prepareHome(home);
    const stack = await LocalWorkspace.createStack(
      { stackName: name, projectName: PROJECT, program },
      {
        workDir: folder,
        pulumiCommand: await PulumiCommand.get({ ...(cli.root ? { root: cli.root } : {}), skipVersionCheck: true }),
        projectSettings: { name: PROJECT, runtime: "nodejs", main: ROOT },
        envVars: {
          PULUMI_HOME: home,
          PULUMI_BACKEND_URL: `file://${state}`,
          PULUMI_CONFIG_PASSPHRASE: "offline",
          PULUMI_SKIP_UPDATE_CHECK: "true",
          PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK: "true",
        },
      },
    );
    stack.info = () => Promise.resolve(undefined);
    return await work({
      stack,
      configure: (config) =>
        stack.setAllConfig(
          Object.fromEntries(Object.entries(config).map(([key, value]) => [`${PROJECT}:${key}`, { value }])),
        ),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
