import { readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { contentHash } from "../../components/contentHash.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { CACHE, ROOT } from "../lib/paths.ts";
import { run } from "../lib/run.ts";
import type { Step } from "../lib/progress.ts";
import { prepareAwsModule } from "./trimAws.ts";
import { GO_MINIMUM, PULUMI_VERSION, TOXIPROXY_VERSION, compareVersions, parseVersion } from "./versions.ts";

interface GoProgram {
  /** Folder under toolchain/, with go.mod and go.sum. */
  readonly module: string;
  /** Makes the folder to build in, where that is not the one under toolchain/ itself. */
  readonly prepare?: (folder: string) => Promise<void>;
  readonly package: string;
  readonly flags: readonly string[];
}

const PROGRAMS = {
  pulumi: {
    module: "cli",
    package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    flags: ["-ldflags", `-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${PULUMI_VERSION}`],
  },
  docker: { module: "docker", package: ".", flags: ["-tags", "no_compose", "-ldflags", "-s -w"] },
  random: { module: "random", package: ".", flags: ["-ldflags", "-s -w"] },
  toxiproxy: {
    module: "toxiproxy",
    package: "github.com/Shopify/toxiproxy/v2/cmd/server",
    flags: ["-ldflags", `-s -w -X github.com/Shopify/toxiproxy/v2.Version=${TOXIPROXY_VERSION}`],
  },
  aws: { module: "aws", package: ".", flags: ["-ldflags", "-s -w"], prepare: prepareAwsModule },
} satisfies Record<string, GoProgram>;

/** What makes the build unnecessary. */
const PULUMI_ITSELF = "Pulumi itself from https://www.pulumi.com/docs/install/";
const OTHERWISE: Readonly<Record<keyof typeof PROGRAMS, string>> = {
  ...{ pulumi: PULUMI_ITSELF, docker: PULUMI_ITSELF, random: PULUMI_ITSELF, aws: PULUMI_ITSELF },
  toxiproxy: "let Docker pull its image",
};

/** A digest of what a program is built from. */
export function sourceOf(program: keyof typeof PROGRAMS): string {
  const { module, prepare }: GoProgram = PROGRAMS[program];
  const trimming = prepare ? readFileSync(join(import.meta.dirname, "trimAws.ts"), "utf8") : "";
  return contentHash(join(ROOT, "toolchain"), [module], { trimming });
}

/** Version of the installed Go, undefined where there is none. */
export async function goVersion(): Promise<number[] | undefined> {
  const { code, stdout } = await run("go", ["env", "GOVERSION"], { env: { ...process.env, GOTOOLCHAIN: "local" } });
  return code === 0 ? parseVersion(stdout) : undefined;
}

/**
 * Builds one of toolchain/'s programs from Go modules to `path`, whole or not at all. Modules are what go.sum says.
 * Throws a UserError where Go is missing or too old, or where the build fails.
 */
export async function buildFromModules(program: keyof typeof PROGRAMS, path: string, progress: Step): Promise<void> {
  const version = await goVersion();
  if (!version || compareVersions(version, GO_MINIMUM) < 0) {
    throw new UserError(
      `${program} could not be downloaded, and building it needs Go ${GO_MINIMUM.join(".")} or newer (found: ${version?.join(".") ?? "none"})`,
      `install Go from https://go.dev/dl/, or ${OTHERWISE[program]}, then call this again`,
      EXIT.failed,
    );
  }
  const { module, flags, package: pkg, prepare }: GoProgram = PROGRAMS[program];
  const partial = `${path}.${process.pid}.part`;
  await mkdir(dirname(path), { recursive: true });
  progress.detail(`building from Go modules with Go ${version.join(".")}; takes minutes, once`);
  const source = prepare ? join(CACHE, "build", program) : join(ROOT, "toolchain", module);
  try {
    await prepare?.(source);
    const result = await run("go", ["build", "-trimpath", ...flags, "-o", partial, pkg], {
      cwd: source,
      // The machine's own flags must not change what is built; modules outside the sum database are pinned by go.sum.
      env: { ...process.env, GOFLAGS: "-mod=readonly", GOTOOLCHAIN: "local", GOWORK: "off", CGO_ENABLED: "0" },
    });
    if (result.code !== 0) {
      throw new UserError(
        `go build of toolchain/${module} failed:\n${result.stderr.trim().split("\n").slice(-8).join("\n")}`,
        "check the network and the free disk space (3 GB), then call this again: it goes on where it was",
        EXIT.failed,
      );
    }
    await rename(partial, path);
    if (prepare) await rm(source, { recursive: true, force: true });
  } finally {
    await rm(partial, { force: true });
  }
}
