import { join } from "node:path";
import * as ecr from "@pulumi/aws/ecr/index.js";
import * as pulumi from "@pulumi/pulumi";
import { contentHash } from "../contentHash.ts";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";

const IMAGES = join(import.meta.dirname, "..", "..", "images");
/** The resource's name: `up` makes it before the rest, to put the image there. */
export const IMAGE_REPOSITORY = "services-image";
/** Images kept: the one in use, and those to go back to. */
const KEPT_IMAGES = 5;

/** The tag that names an image's content: a changed one is a new image, and makes new tasks. */
export const imageTag = (): string => contentHash(IMAGES, ["common", "services", "services-aws"], {});

export interface ImageRepository {
  readonly url: pulumi.Output<string>;
  /** With its tag. */
  readonly image: pulumi.Output<string>;
}

/** A private registry for the pool's image, which `up` builds and puts there. */
export function imageRepository(site: AwsSite): ImageRepository {
  const child = { parent: site, provider: site.provider };
  const repository = new ecr.Repository(
    IMAGE_REPOSITORY,
    {
      name: awsName(site.stack, "services"),
      imageTagMutability: "IMMUTABLE",
      imageScanningConfiguration: { scanOnPush: true },
      encryptionConfigurations: [{ encryptionType: "KMS", kmsKey: site.keyArn }],
      // Images are built from this repository at any time.
      forceDelete: true,
    },
    child,
  );
  new ecr.LifecyclePolicy(
    IMAGE_REPOSITORY,
    {
      repository: repository.name,
      policy: JSON.stringify({
        rules: [
          {
            rulePriority: 1,
            description: `The last ${KEPT_IMAGES}`,
            selection: { tagStatus: "any", countType: "imageCountMoreThan", countNumber: KEPT_IMAGES },
            action: { type: "expire" },
          },
        ],
      }),
    },
    child,
  );
  return { url: repository.repositoryUrl, image: pulumi.interpolate`${repository.repositoryUrl}:${imageTag()}` };
}
