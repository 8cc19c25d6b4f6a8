/** The authorities of RDS's certificates, which AWS publishes as one file. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { writeWhole } from "../lib/files.ts";
import { CACHE } from "../lib/paths.ts";

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

/** As text, for clients that take no file. */
export const rdsAuthoritiesText = async (): Promise<string> => readFileSync(await rdsAuthorities(), "utf8");
