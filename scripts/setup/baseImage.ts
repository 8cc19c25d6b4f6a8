import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Step, note } from "../lib/progress.ts";
import { pipe, run } from "../lib/run.ts";
import { ensurePackages } from "./engine.ts";
import { isHere } from "./pullImage.ts";

/** The image that ours are built on, and what stands in for it where it cannot be pulled. */
export const OFFICIAL_BASE = "debian:trixie-slim";
export const LOCAL_BASE = "cgraph-debian:trixie";

/** The base image that is there: the official one first. */
export async function findBaseImage(): Promise<string | undefined> {
  for (const image of [OFFICIAL_BASE, LOCAL_BASE]) if (await isHere(image)) return image;
  return undefined;
}

/** Gets a base image: pulled, else made of Debian packages with debootstrap. Gives its name. */
export async function makeBaseImage(mayInstall: boolean, progress: Step): Promise<string> {
  progress.detail(`pulling ${OFFICIAL_BASE}`);
  const pulled = await run("docker", ["pull", "--quiet", OFFICIAL_BASE], { timeoutMs: 300_000 });
  if (pulled.code === 0) return OFFICIAL_BASE;
  note(`  ${OFFICIAL_BASE} cannot be pulled (${pulled.stderr.trim().split("\n").at(-1)})`);
  const missing = (): UserError =>
    new UserError(
      `${OFFICIAL_BASE} cannot be pulled, and debootstrap, which would make it from Debian packages, is not installed or needs root`,
      "give Docker access to a registry, or as root: apt-get install debootstrap",
      EXIT.failed,
    );
  if (process.getuid?.() !== 0) throw missing();
  if (
    (await run("debootstrap", ["--version"])).code !== 0 &&
    !(await ensurePackages(["debootstrap"], mayInstall, progress))
  ) {
    throw missing();
  }
  const folder = await mkdtemp(join(tmpdir(), "cgraph-debian-"));
  try {
    progress.detail("making it from Debian packages with debootstrap");
    const made = await run("debootstrap", ["--variant=minbase", "--include=ca-certificates", "trixie", folder]);
    if (made.code !== 0) {
      throw new UserError(
        `debootstrap failed: ${made.stdout.trim().split("\n").at(-1)}`,
        "check the network and free disk space, then call this again",
        EXIT.failed,
      );
    }
    // What it was made from stays outside: nobody installs it again.
    const packages = "--exclude=./var/cache/apt/archives/*.deb";
    if (!(await pipe(["tar", "-C", folder, packages, "-c", "."], ["docker", "import", "-", LOCAL_BASE]))) {
      throw new UserError("docker import of the base image failed", "check Docker's free disk space", EXIT.failed);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return LOCAL_BASE;
}
