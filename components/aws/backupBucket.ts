import * as s3 from "@pulumi/aws/s3/index.js";
import type * as pulumi from "@pulumi/pulumi";
import type { AwsSite } from "./AwsSite.ts";
import { awsName } from "./names.ts";

/** Of a bucket's name before what AWS adds to it. */
const LONGEST_PREFIX = 37;
/** What pgBackRest has expired, or somebody has deleted, can be had back for so long. */
const DELETED_DAYS = 30;

/**
 * The bucket of pgBackRest's repositories: encrypted with the stack's key, reached over TLS only and by nobody but the
 * account's own roles, with versions, and kept like the data itself.
 */
export function backupBucket(site: AwsSite, parent: pulumi.Resource): s3.Bucket {
  const child = { parent };
  const name = `${site.prefix}backups`;
  const bucket = new s3.Bucket(
    name,
    {
      bucketPrefix: `${awsName(site.stack, "backups").slice(0, LONGEST_PREFIX - 1)}-`,
      forceDestroy: site.kept.protect !== true,
    },
    { ...child, ...site.kept },
  );
  const versions = new s3.BucketVersioning(
    name,
    { bucket: bucket.id, versioningConfiguration: { status: "Enabled" } },
    child,
  );
  new s3.BucketServerSideEncryptionConfiguration(
    name,
    {
      bucket: bucket.id,
      rules: [
        {
          applyServerSideEncryptionByDefault: { sseAlgorithm: "aws:kms", kmsMasterKeyId: site.keyArn },
          bucketKeyEnabled: true,
        },
      ],
    },
    child,
  );
  const closed = new s3.BucketPublicAccessBlock(
    name,
    {
      bucket: bucket.id,
      ...{ blockPublicAcls: true, blockPublicPolicy: true, ignorePublicAcls: true, restrictPublicBuckets: true },
    },
    child,
  );
  new s3.BucketLifecycleConfiguration(
    name,
    {
      bucket: bucket.id,
      rules: [
        {
          ...{ id: "leftovers", status: "Enabled", filter: { prefix: "" } },
          noncurrentVersionExpiration: { noncurrentDays: DELETED_DAYS },
          abortIncompleteMultipartUpload: { daysAfterInitiation: 7 },
        },
      ],
    },
    { ...child, dependsOn: [versions] },
  );
  new s3.BucketPolicy(
    name,
    {
      bucket: bucket.id,
      policy: bucket.arn.apply((arn) =>
        JSON.stringify({
          Version: "2012-10-17",
          Statement: [
            {
              ...{ Sid: "TlsOnly", Effect: "Deny", Principal: "*", Action: "s3:*", Resource: [arn, `${arn}/*`] },
              Condition: { Bool: { "aws:SecureTransport": "false" } },
            },
          ],
        }),
      ),
    },
    // AWS takes one change of a bucket's access at a time.
    { ...child, dependsOn: [closed] },
  );
  return bucket;
}
