/** The file that a page is written into. */
import { existsSync, statSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { note } from "../lib/progress.ts";

/** Before the work: that a page cannot be written should not be found out afterwards. */
export function checkPage(file: string): void {
  const folder = dirname(resolve(file));
  if (existsSync(folder) && statSync(folder).isDirectory()) return;
  throw new UserError(`there is no folder ${folder} for the page`, "make it, or name another file: --html FILE");
}

export function writePage(file: string, page: string): void {
  try {
    writeFileSync(file, page);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UserError(`the page cannot be written: ${why}`, "name another file: --html FILE", EXIT.failed);
  }
  note(`  page: ${file}`);
}
