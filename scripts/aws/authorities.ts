/** The authorities of RDS's certificates, which AWS publishes as one file. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { writeWhole } from "../lib/files.ts";
import { CACHE } from "../lib/paths.ts";

/** Where AWS publishes it; a test puts a local server here. */
const BUNDLE =
  process.env["CGRAPH_RDS_AUTHORITIES"] || "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem";
const PATIENCE_MS = 10_000;
const CERTIFICATE = "-----BEGIN CERTIFICATE-----";

/** The file, fetched once. Throws a UserError where it cannot be had. */
export async function rdsAuthorities(): Promise<string> {
  const file = join(CACHE, "rds-ca.pem");
  if (existsSync(file)) return file;
  const failed = (why: string): UserError =>
    new UserError(
      `the authorities of RDS's certificates cannot be fetched: ${why}`,
      `check the network, or put ${BUNDLE} into ${file}`,
      EXIT.failed,
    );
  const response = await fetch(BUNDLE, { signal: AbortSignal.timeout(PATIENCE_MS) }).catch((error: unknown) => {
    throw failed(error instanceof Error ? error.message : String(error));
  });
  const text = await response.text();
  if (!response.ok || !text.includes(CERTIFICATE)) throw failed(`the answer is ${response.status}`);
  writeWhole(file, text, 0o644);
  return file;
}

/** As text, for clients that take no file. */
export const rdsAuthoritiesText = async (): Promise<string> => readFileSync(await rdsAuthorities(), "utf8");
