/** Toxiproxy's image, which regions in Docker need: the official one where it can be pulled, else made of Go modules. */
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { CACHE } from "../lib/paths.ts";
import { note, step } from "../lib/progress.ts";
import { pipe } from "../lib/run.ts";
import { buildFromModules, sourceOf } from "./goBuild.ts";
import { type Patience, isHere, pullImage } from "./pullImage.ts";
import { TOXIPROXY_VERSION } from "./versions.ts";

/** A test puts a local registry here. */
export const OFFICIAL_TOXIPROXY =
  process.env["CGRAPH_TOXIPROXY_IMAGE"] || `ghcr.io/shopify/toxiproxy:${TOXIPROXY_VERSION}`;
export const LOCAL_TOXIPROXY = `cgraph-toxiproxy:${TOXIPROXY_VERSION}`;
const PATIENCE: Patience = { answerMs: 2_000, totalMs: 120_000 };

/** An image with nothing but the program, at the place where the official one has it. */
async function importImage(program: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "cgraph-toxiproxy-"));
  try {
    await copyFile(program, join(folder, "toxiproxy"));
    if (await pipe(["tar", "-C", folder, "-c", "toxiproxy"], ["docker", "import", "-", LOCAL_TOXIPROXY])) return;
    throw new UserError("docker import of Toxiproxy failed", "check Docker's free disk space", EXIT.failed);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The image, which is there afterwards. Throws a UserError where it can neither be pulled nor built. */
export async function toxiproxyImage(official = OFFICIAL_TOXIPROXY, patience = PATIENCE): Promise<string> {
  for (const image of [official, LOCAL_TOXIPROXY]) if (await isHere(image)) return image;
  return step("Toxiproxy's image", async (progress) => {
    progress.detail(`pulling ${official}`);
    const why = await pullImage(official, patience);
    if (why === undefined) return { value: official, done: official };
    note(`  ${official} cannot be pulled (${why})`);
    const program = join(CACHE, "bin", `toxiproxy-${sourceOf("toxiproxy")}`);
    if (!existsSync(program)) await buildFromModules("toxiproxy", program, progress);
    await importImage(program);
    return { value: LOCAL_TOXIPROXY, done: LOCAL_TOXIPROXY };
  });
}
