/** The authorities of RDS's certificates, which AWS publishes as one file. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { writeWhole } from "../lib/files.ts";
import { CACHE } from "../lib/paths.ts";
import { aws, needAwsCli } from "./cli.ts";

const BUNDLE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem";
const PATIENCE_MS = 10_000;
/** AWS adds authorities now and then, years before servers have certificates of theirs. */
const FRESH_MS = 30 * 24 * 3600 * 1000;
const CERTIFICATE = "-----BEGIN CERTIFICATE-----";

/**
 * The file, fetched once a month. CGRAPH_RDS_AUTHORITIES names another place of it, or a file that is there already.
 * Throws a UserError where it cannot be had; one that is older serves meanwhile.
 */
export async function rdsAuthorities(folder = CACHE): Promise<string> {
  const source = process.env["CGRAPH_RDS_AUTHORITIES"] || BUNDLE;
  if (isAbsolute(source)) return source;
  const file = join(folder, "rds-ca.pem");
  if (existsSync(file) && Date.now() - statSync(file).mtimeMs < FRESH_MS) return file;
  try {
    const response = await fetch(source, { signal: AbortSignal.timeout(PATIENCE_MS) });
    const text = await response.text();
    if (!response.ok || !text.includes(CERTIFICATE)) throw new Error(`it answers ${response.status}`);
    writeWhole(file, text, 0o644);
  } catch (error) {
    if (existsSync(file)) return file;
    throw new UserError(
      `the authorities of RDS's certificates cannot be fetched: ${error instanceof Error ? error.message : String(error)}`,
      `check the network, or fetch ${BUNDLE} elsewhere and set CGRAPH_RDS_AUTHORITIES to the file`,
      EXIT.failed,
    );
  }
  return file;
}

/**
 * The file with the authority by which a stack's servers are verified: RDS's; or, at stage 5, the nodes' own, from its
 * secret. Throws a UserError where it cannot be had.
 */
export async function authoritiesOf(values: AwsStackValues, folder = CACHE): Promise<string> {
  const secret = values.citus?.authoritySecret;
  if (secret === undefined) return rdsAuthorities(folder);
  const file = join(folder, `nodes-${createHash("sha256").update(secret).digest("hex").slice(0, 16)}.pem`);
  if (existsSync(file)) return file;
  await needAwsCli("the certificate of the nodes' authority");
  const text = await readCopy([
    { region: values.region, secret },
    ...(values.citus?.regions ?? []).map(({ name, authoritySecret }) => ({ region: name, secret: authoritySecret })),
  ]);
  if (!text.includes(CERTIFICATE)) {
    throw new UserError(
      `the secret ${secret} holds no certificate`,
      "the first node writes it when it starts: wait for the nodes, then call this again",
      EXIT.failed,
    );
  }
  writeWhole(file, text, 0o644);
  return file;
}

/** What a secret holds, of the first region that answers. Throws what home says where none does. */
async function readCopy(copies: readonly { readonly region: string; readonly secret: string }[]): Promise<string> {
  let refused: unknown;
  for (const { region, secret } of copies) {
    try {
      const { SecretString: text = "" } = await aws<{ SecretString?: string }>(region, [
        ...["secretsmanager", "get-secret-value", "--secret-id", secret],
      ]);
      return text;
    } catch (error) {
      refused ??= error;
    }
  }
  throw refused;
}

/** As text, for clients that take no file. */
export const rdsAuthoritiesText = async (): Promise<string> => readFileSync(await rdsAuthorities(), "utf8");
