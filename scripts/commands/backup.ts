import { EXIT, UserError } from "../../tuning/errors.ts";
import { backupNow, listBackups } from "../lib/pgbackrest.ts";
import { bytes, print, printJson, table } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { openStack, stackValues } from "../lib/stack.ts";

const TYPES = ["full", "diff", "incr"] as const;

/** `backup`: takes a backup now, beside the schedule. */
export async function backup(flags: { stack: string; type: string; json?: boolean }): Promise<void> {
  if (!TYPES.some((type) => type === flags.type)) {
    throw new UserError(`there is no backup type ${flags.type}`, `use one of ${TYPES.join(", ")}`);
  }
  const { backupContainer } = await stackValues(await openStack(flags.stack));
  const newest = await step("backup", async (progress) => {
    try {
      await backupNow(backupContainer, flags.type, (line) => {
        const text = /P00\s+INFO: (.*)/.exec(line)?.[1];
        if (text) progress.detail(text.slice(0, 100));
      });
    } catch (error) {
      if (/\[050\]|unable to acquire lock/.test(String(error))) {
        throw new UserError(
          "a backup is already running",
          "wait until it has ended (./cgraph-db logs backup)",
          EXIT.failed,
        );
      }
      throw error;
    }
    const value = (await listBackups(backupContainer)).at(-1);
    return { value, done: value ? `${value.name}, ${bytes(value.storedBytes)} stored` : "done" };
  });
  if (flags.json) printJson(newest ?? null);
}

/** `backups`: every backup there is, with size, time and range of WAL. */
export async function backups(flags: { stack: string; json?: boolean }): Promise<void> {
  const { backupContainer } = await stackValues(await openStack(flags.stack));
  const list = await listBackups(backupContainer);
  if (flags.json) {
    printJson(list);
    return;
  }
  if (list.length === 0) {
    print("There is no backup yet: the first one is taken minutes after up; see ./cgraph-db logs backup");
    return;
  }
  print(
    table([
      ["name", "type", "ended", "database", "stored", "WAL"],
      ...list.map((b) => [
        b.name,
        b.type,
        b.endedAt,
        bytes(b.databaseBytes),
        bytes(b.storedBytes),
        `${b.walStart} … ${b.walEnd}`,
      ]),
    ]),
  );
}
