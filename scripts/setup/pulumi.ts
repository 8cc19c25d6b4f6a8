import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { arch, platform } from "node:os";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { CACHE, PULUMI_HOME } from "../lib/paths.ts";
import { type Step, note } from "../lib/progress.ts";
import { run } from "../lib/run.ts";
import { SOURCES, download } from "./download.ts";
import { buildFromModules, sourceOf } from "./goBuild.ts";
import { PULUMI_MINIMUM, PULUMI_VERSION, type Plugin, compareVersions, parseVersion } from "./versions.ts";

const EXE = platform() === "win32" ? ".exe" : "";
const ENV = { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true", PULUMI_HOME };

/** The folder whose bin/ holds the CLI that we downloaded or built. */
const cachedRoot = join(CACHE, "pulumi", `v${PULUMI_VERSION}`);
const cachedCommand = join(cachedRoot, "bin", `pulumi${EXE}`);

export interface PulumiCli {
  /** The executable. */
  readonly command: string;
  /** The folder that holds bin/pulumi, as the Automation API wants it; undefined: found on PATH. */
  readonly root: string | undefined;
  readonly version: string;
}

async function versionOf(command: string): Promise<number[] | undefined> {
  const { code, stdout } = await run(command, ["version"], { env: ENV, timeoutMs: 20_000 });
  return code === 0 ? parseVersion(stdout) : undefined;
}

/** The CLI that is there: on PATH and new enough, else in our cache, where only whole ones of the right version are put. */
export async function findPulumi(): Promise<PulumiCli | undefined> {
  const onPath = await versionOf("pulumi");
  if (onPath && compareVersions(onPath, PULUMI_MINIMUM) >= 0) {
    return { command: "pulumi", root: undefined, version: onPath.join(".") };
  }
  if (!existsSync(cachedCommand)) return undefined;
  return { command: cachedCommand, root: cachedRoot, version: PULUMI_VERSION };
}

async function unpack(archive: string, target: string, contents: string): Promise<void> {
  const folder = await mkdtemp(`${target}.`);
  try {
    const { code, stderr } = await run("tar", ["-xzf", archive, "-C", folder]);
    if (code !== 0) throw new Error(`tar cannot unpack ${archive}: ${stderr.trim()}`);
    await rm(target, { recursive: true, force: true });
    await rename(join(folder, contents), target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const why = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Gets the CLI: the official download, else a build from Go modules. */
export async function installPulumi(progress: Step): Promise<PulumiCli> {
  const bin = join(cachedRoot, "bin");
  await mkdir(cachedRoot, { recursive: true });
  const system = `${platform()}-${arch() === "x64" ? "x64" : arch()}`;
  const archive = join(CACHE, "downloads", `pulumi-v${PULUMI_VERSION}-${system}.tar.gz`);
  try {
    progress.detail(`downloading v${PULUMI_VERSION}`);
    await download(
      {
        url: `${SOURCES.releases}/sdk/pulumi-v${PULUMI_VERSION}-${system}.tar.gz`,
        checksumsUrl: `${SOURCES.releases}/sdk/pulumi-${PULUMI_VERSION}-checksums.txt`,
      },
      archive,
    );
    await unpack(archive, bin, "pulumi");
    await rm(archive, { force: true });
  } catch (error) {
    note(`  no official Pulumi CLI (${why(error)})`);
    await buildFromModules("pulumi", cachedCommand, progress);
  }
  const version = await versionOf(cachedCommand);
  if (!version) {
    await rm(bin, { recursive: true, force: true });
    throw new UserError(
      "the Pulumi CLI that was installed does not run on this machine",
      "install Pulumi: https://www.pulumi.com/docs/install/",
      EXIT.failed,
    );
  }
  return { command: cachedCommand, root: cachedRoot, version: version.join(".") };
}

/** Where Pulumi keeps a plugin's executable. */
export const pluginFile = ({ name, version }: Plugin): string =>
  join(PULUMI_HOME, "plugins", `resource-${name}-v${version}`, `pulumi-resource-${name}${EXE}`);

const pluginFolder = ({ name, version }: Plugin): string => join(CACHE, "plugins", `${name}-v${version}`);

/** What a plugin in our cache was made from: `official`, or a digest of the sources that it was built from. */
const originFile = (plugin: Plugin): string => join(pluginFolder(plugin), "made-from");
const OFFICIAL = "official";

/** Whether a plugin in our cache was built from sources that have changed since: it may lack what they now have. */
function isOutdated(plugin: Plugin): boolean {
  if (!existsSync(pluginFolder(plugin))) return false;
  const origin = existsSync(originFile(plugin)) ? readFileSync(originFile(plugin), "utf8") : "";
  return origin !== OFFICIAL && origin !== sourceOf(plugin.name);
}

export const pluginInstalled = (plugin: Plugin): boolean => existsSync(pluginFile(plugin)) && !isOutdated(plugin);

/** Gets a plugin (the official download, else a build from Go modules) and registers it with the CLI. */
export async function installPlugin(cli: PulumiCli, plugin: Plugin, progress: Step): Promise<void> {
  const { name, version } = plugin;
  const folder = pluginFolder(plugin);
  const executable = join(folder, `pulumi-resource-${name}${EXE}`);
  if (!existsSync(executable) || isOutdated(plugin)) {
    const system = `${platform()}-${arch() === "x64" ? "amd64" : arch()}`;
    const file = `pulumi-resource-${name}-v${version}-${system}.tar.gz`;
    const release = `${SOURCES.github}/pulumi/pulumi-${name}/releases/download/v${version}`;
    const archive = join(CACHE, "downloads", file);
    await mkdir(join(CACHE, "plugins"), { recursive: true });
    try {
      progress.detail(`downloading v${version}`);
      await download(
        { url: `${release}/${file}`, checksumsUrl: `${release}/pulumi-${name}_${version}_checksums.txt` },
        archive,
      );
      await unpack(archive, folder, ".");
      await writeFile(originFile(plugin), OFFICIAL);
      await rm(archive, { force: true });
    } catch (error) {
      note(`  no official ${name} plugin (${why(error)})`);
      await buildFromModules(name, executable, progress);
      await writeFile(originFile(plugin), sourceOf(name));
    }
  }
  progress.detail("registering");
  const { code, stderr } = await run(
    cli.command,
    ["plugin", "install", "resource", name, `v${version}`, "--file", executable, "--reinstall"],
    {
      env: ENV,
    },
  );
  if (code !== 0) {
    throw new UserError(
      `Pulumi does not take the ${name} plugin: ${stderr.trim()}`,
      `delete ${folder} and call this again`,
      EXIT.failed,
    );
  }
}
