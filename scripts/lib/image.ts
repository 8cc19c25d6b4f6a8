/** Images that commands build themselves, beside those of the stacks. */
import { join } from "node:path";
import { imageName } from "../../components/contentHash.ts";
import { docker } from "./docker.ts";
import { ROOT } from "./paths.ts";
import { run } from "./run.ts";

interface ImageArgs {
  /** The folder in images/. */
  readonly kind: string;
  readonly version: string;
  /** Folders of images/ that are in it. */
  readonly folders: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Called around the build, where there is one. */
  readonly whileBuilding?: (build: () => Promise<unknown>, name: string) => Promise<unknown>;
}

/** Builds an image where it is missing; gives its name. */
export async function ensureImage({ kind, version, folders, buildArgs, whileBuilding }: ImageArgs): Promise<string> {
  const images = join(ROOT, "images");
  const name = imageName(images, kind, version, folders, buildArgs);
  if ((await run("docker", ["image", "inspect", "--format", "ok", name])).code === 0) return name;
  const given = Object.entries(buildArgs).flatMap(([key, value]) => ["--build-arg", `${key}=${value}`]);
  const file = join(images, kind, "Dockerfile");
  const build = () => docker(["build", "--quiet", "--force-rm", ...given, "--file", file, "--tag", name, images]);
  await (whileBuilding ? whileBuilding(build, name) : build());
  return name;
}
