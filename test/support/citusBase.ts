/** Whether a stack of stage 5 can be made on this machine, and of what. */
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import { findCitus } from "../../scripts/setup/citusImage.ts";
import { isHere } from "../../scripts/setup/pullImage.ts";

/** Debian with PostgreSQL 17 and Citus 14, where somebody has made one by hand and says so. */
const LOCAL = process.env["CGRAPH_TEST_CITUS_IMAGE"];

/** The base image to set, undefined for the default; or why there is none. */
export async function citusBase(): Promise<{ baseImage?: string } | { missing: string }> {
  try {
    if (LOCAL !== undefined && (await isHere(LOCAL))) {
      await findCitus({
        image: "cgraph-citus:none",
        base: LOCAL,
        postgresVersion: 17,
        repository: "http://127.0.0.1:1",
      });
      return { baseImage: LOCAL };
    }
    const base = await findBaseImage();
    if (base === undefined) return { missing: "no base image: ./cgraph-db setup" };
    await findCitus({ image: "cgraph-citus:none", base, postgresVersion: 17 });
    return {};
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}
