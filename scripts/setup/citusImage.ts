/** Where Citus for a stack's servers in Docker comes from: PostgreSQL in Debian has none. */
import { CITUS_VERSION } from "../../components/docker/citusNames.ts";
import { citusImageName } from "../../components/docker/images.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { run } from "../lib/run.ts";
import { adoptDockerContext } from "./engine.ts";
import { isHere } from "./pullImage.ts";

/** The Citus project's packages for Debian; images/citus/Dockerfile installs them. A test puts a server of its own here. */
export const CITUS_REPOSITORY =
  process.env["CGRAPH_CITUS_REPOSITORY"] || "https://repos.citusdata.com/community/debian";
/** Debian's release that images are made of. */
const RELEASE = "trixie";
/** Majors of PostgreSQL that Citus 14 has packages for. */
const CITUS_POSTGRES: readonly number[] = [16, 17, 18];
const ANSWER_MS = 5_000;

/** An image that was built before, the base image, or packages. */
export type CitusSource = "image" | "base" | "packages";

/** Whether an image has Citus' files for a major of PostgreSQL. Nothing of it is run. */
async function hasCitus(image: string, major: number): Promise<boolean> {
  if (!(await isHere(image))) return false;
  const { code, stdout } = await run("docker", ["create", "--network", "none", image, "nothing"]);
  if (code !== 0) return false;
  const container = stdout.trim();
  try {
    const file = `${container}:/usr/share/postgresql/${major}/extension/citus.control`;
    return (await run("docker", ["cp", file, "-"])).code === 0;
  } finally {
    await run("docker", ["rm", container]);
  }
}

/** Undefined where the repository answers with its index, else why it is of no use. */
async function whyNoPackages(repository: string, answerMs: number): Promise<string | undefined> {
  try {
    const url = `${repository}/dists/${RELEASE}/InRelease`;
    const { status, body } = await fetch(url, { signal: AbortSignal.timeout(answerMs) });
    await body?.cancel();
    return status === 200 ? undefined : `it answers with ${status}`;
  } catch (error) {
    if ((error as Error).name === "TimeoutError") return `no answer within ${answerMs / 1000} s`;
    const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
    return cause?.code ?? cause?.message ?? message;
  }
}

interface Looking {
  /** The image that would be built, and the base of it all. */
  readonly image: string;
  readonly base: string;
  readonly postgresVersion: number;
  readonly repository?: string;
  readonly answerMs?: number;
}

/** Where Citus is to be had. Throws a UserError where it is not. */
export async function findCitus({
  image,
  base,
  postgresVersion,
  repository = CITUS_REPOSITORY,
  answerMs = ANSWER_MS,
}: Looking): Promise<CitusSource> {
  if (!CITUS_POSTGRES.includes(postgresVersion)) {
    throw new UserError(
      `Citus ${CITUS_VERSION} has no packages for PostgreSQL ${postgresVersion}`,
      `set cgraph:postgresVersion to one of ${CITUS_POSTGRES.join(", ")}`,
      EXIT.refused,
    );
  }
  if (await isHere(image)) return "image";
  if (await hasCitus(base, postgresVersion)) return "base";
  const why = await whyNoPackages(repository, answerMs);
  if (why === undefined) return "packages";
  throw new UserError(
    `stage 5 needs Citus, which is not in the base image ${base}, and the Citus project's packages cannot be had from ${repository}: ${why}`,
    `give this machine access to it, or set cgraph:baseImage to an image of Debian ${RELEASE} with PostgreSQL ${postgresVersion} and Citus ${CITUS_VERSION} (docs/citus.md); nothing was changed, and stages 1 to 4 need none`,
    EXIT.refused,
  );
}

/** Refuses a stage 5 in Docker whose servers could not be built, before anything is changed. Other stages need nothing. */
export async function requireCitusToBeHad(
  {
    stage,
    target,
    postgresVersion,
    baseImage,
  }: Pick<StackConfig, "stage" | "target" | "postgresVersion" | "baseImage">,
  found?: string,
): Promise<void> {
  if (stage !== 5 || target !== "docker") return;
  await adoptDockerContext();
  const base = found ?? baseImage;
  const image = citusImageName(String(postgresVersion), base, CITUS_VERSION);
  await findCitus({ image, base, postgresVersion });
}
