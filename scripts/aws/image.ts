/** The pool's image: built here, kept in the stack's own registry. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { docker } from "../lib/docker.ts";
import { ROOT } from "../lib/paths.ts";
import { step } from "../lib/progress.ts";
import { run } from "../lib/run.ts";
import { OFFICIAL_BASE } from "../setup/baseImage.ts";
import { rdsAuthorities } from "./authorities.ts";
import { aws, needAwsCli } from "./cli.ts";

/** Fargate's processors, whatever this machine has. */
const PLATFORM = "linux/amd64";

interface Place {
  readonly registry: string;
  readonly repository: string;
  readonly tag: string;
}

/** `123.dkr.ecr.eu-west-1.amazonaws.com/name:tag` in its parts. */
export function placeOf(image: string): Place {
  const [, registry = "", repository = "", tag = ""] = /^([^/]+)\/(.+):([^:/]+)$/.exec(image) ?? [];
  if (tag === "") throw new Error(`${image} names no image in a registry`);
  return { registry, repository, tag };
}

async function isThere(region: string, { repository, tag }: Place): Promise<boolean> {
  const { imageDetails = [] } = await aws<{ imageDetails?: readonly unknown[] }>(region, [
    ...["ecr", "describe-images", "--repository-name", repository, "--image-ids", `imageTag=${tag}`],
  ]).catch((error: unknown) => {
    if (/ImageNotFound/.test(String(error))) return { imageDetails: [] };
    throw error;
  });
  return imageDetails.length > 0;
}

/** Builds the image for AWS on a base, and names it. `platform`: empty for this machine's own. */
export async function buildPoolImage(image: string, baseImage: string, platform = PLATFORM): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-image-"));
  const common = `cgraph-services:${placeOf(image).tag}-aws`;
  try {
    cpSync(join(ROOT, "images/services-aws/Dockerfile"), join(folder, "Dockerfile"));
    cpSync(await rdsAuthorities(), join(folder, "rds-ca.pem"));
    const build = (name: string, base: string, file: string, context: string): Promise<string> =>
      docker([
        "build",
        ...(platform === "" ? [] : ["--platform", platform]),
        "--build-arg",
        `BASE=${base}`,
        "--tag",
        name,
        "--file",
        file,
        context,
      ]);
    await build(common, baseImage, join(ROOT, "images/services/Dockerfile"), join(ROOT, "images"));
    await build(image, common, join(folder, "Dockerfile"), folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Puts the image into the stack's registry, where it is not there yet. */
export async function pushPoolImage(region: string, image: string, baseImage = OFFICIAL_BASE): Promise<void> {
  await needAwsCli("putting the pool's image into its registry");
  const place = placeOf(image);
  await step("the pool's image", async (progress) => {
    if (await isThere(region, place)) return { value: undefined, done: `${place.tag} is there` };
    progress.detail("building");
    await buildPoolImage(image, baseImage);
    progress.detail("pushing");
    const token = await run("aws", ["ecr", "get-login-password", "--region", region]);
    const login = ["login", "--username", "AWS", "--password-stdin", place.registry];
    const { code, stderr } = await run("docker", login, { input: token.stdout.trim() });
    if (token.code !== 0 || code !== 0) {
      throw new UserError(
        `no login to the registry ${place.registry}: ${(token.stderr || stderr).trim()}`,
        "you need the right ecr:GetAuthorizationToken, and Docker",
        EXIT.failed,
      );
    }
    await docker(["push", image]);
    return { value: undefined, done: `${place.tag} pushed` };
  });
}
