import { createHash } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

export interface Download {
  /** The archive. */
  readonly url: string;
  /** The publisher's list of SHA-256 sums, one `<hex>  <file name>` a line. */
  readonly checksumsUrl: string;
}

/** Where official releases come from; a test puts a local server here. */
export const SOURCES = {
  releases: process.env["CGRAPH_PULUMI_RELEASES"] || "https://get.pulumi.com/releases",
  github: process.env["CGRAPH_GITHUB"] || "https://github.com",
};

/** How long a server may take to answer at all, and the whole of a download. */
export interface Patience {
  readonly answerMs: number;
  readonly totalMs: number;
}
const PATIENCE: Patience = { answerMs: 5_000, totalMs: 600_000 };

async function get(url: string, patience: Patience): Promise<Response> {
  const abort = new AbortController();
  const late = setTimeout(
    () => abort.abort(new Error(`no answer within ${patience.answerMs / 1000} s`)),
    patience.answerMs,
  );
  try {
    const response = await fetch(url, {
      signal: AbortSignal.any([abort.signal, AbortSignal.timeout(patience.totalMs)]),
    });
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    return response;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Error(`${new URL(url).host}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause: error,
    });
  } finally {
    clearTimeout(late);
  }
}

/** The SHA-256 that a list of sums gives for a file; undefined where it is not listed. */
export function findChecksum(list: string, file: string): string | undefined {
  for (const line of list.split("\n")) {
    const match = /^([0-9a-f]{64})\s+\*?(\S+)$/i.exec(line.trim());
    if (match?.[2] === file) return match[1]?.toLowerCase();
  }
  return undefined;
}

/**
 * Downloads an archive to `path`, whole and with the right checksum, or not at all. Tries once: whoever calls has
 * another way. Throws an Error that says which server refused and how, or that the content is not what was published.
 */
export async function download(source: Download, path: string, patience: Patience = PATIENCE): Promise<void> {
  const file = new URL(source.url).pathname.split("/").at(-1) ?? "";
  const sums = await (await get(source.checksumsUrl, patience)).text();
  const wanted = findChecksum(sums, file);
  if (!wanted) throw new Error(`${source.checksumsUrl} lists no SHA-256 for ${file}`);
  const body = Buffer.from(await (await get(source.url, patience)).arrayBuffer());
  const found = createHash("sha256").update(body).digest("hex");
  if (found !== wanted) throw new Error(`${file} has SHA-256 ${found}, published is ${wanted}`);
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}.part`;
  try {
    await writeFile(partial, body);
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
}
