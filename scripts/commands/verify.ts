import { dockerName } from "../../components/docker/names.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { count } from "../../tuning/words.ts";
import { clusterView } from "../lib/clusters.ts";
import { lockStack } from "../lib/lock.ts";
import { type Backup, type Verification, listBackups, readVerification, writeVerification } from "../lib/pgbackrest.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { reasons, removeRecoveryNode, repositoryOf, runRecoveryNode } from "../lib/recoveryNode.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { checkedConfig } from "../lib/stackConfig.ts";
import { refuseDuringMove } from "../migrate/journal.ts";

export interface VerifyFlags {
  readonly stack: string;
  /** A backup's name; default: the newest. */
  readonly set?: string;
  /** Every other file of the repository too: WAL, other backups. */
  readonly all?: boolean;
  readonly cluster?: string;
  readonly json?: boolean;
}

/** What the image's cgraph-verify prints. */
type Found = Pick<Verification, "ok" | "problems" | "problemCount" | "tables" | "rows">;

function chosen(backups: readonly Backup[], name: string | undefined): Backup {
  const found = name === undefined ? backups.at(-1) : backups.find((backup) => backup.name === name);
  if (found) return found;
  if (name === undefined) {
    throw new UserError("there is no backup yet", "take one: ./cgraph-db backup", EXIT.failed);
  }
  throw new UserError(`there is no backup ${name}`, "use a name from ./cgraph-db backups");
}

/** `backup verify`: restores a backup on trial, where nobody sees it, reads all of it, and keeps what it found. */
export async function verify(flags: VerifyFlags): Promise<ExitCode> {
  // A command that changes the stack would take the trial's container for one that was left behind.
  const lock = lockStack(flags.stack, "backup verify");
  try {
    refuseDuringMove(flags.stack);
    const { values, name: cluster } = clusterView(await stackValues(await openStack(flags.stack)), flags);
    const { backupContainer, nodes } = values;
    const [like] = nodes;
    if (!like) throw new Error("the stack has no server");
    const { name } = chosen(await listBackups(backupContainer), flags.set);
    const node = {
      ...{ stack: flags.stack, name: "verify", like, volume: dockerName(flags.stack, "verify-data") },
      ...{
        volumeOptions: undefined,
        archives: false,
        remoteRepository: checkedConfig(flags.stack).backups.s3 !== undefined,
      },
      repository: repositoryOf(cluster),
      command: ["verify", name, ...(flags.all ? ["all"] : [])],
    };
    const began = Date.now();
    const found = await step(`verify ${name}`, async (progress) => {
      const result = await runRecoveryNode(node, (line) => {
        const said = /^cgraph: (.*)/.exec(line)?.[1];
        if (said) progress.detail(said.slice(0, 100));
      });
      await removeRecoveryNode(node);
      if (result.code !== 0) {
        throw new UserError(
          `${name} could not be verified${result.code === 137 ? ": its container was killed" : `:\n${reasons(result)}`}`,
          "that says nothing about the backup: mend what it says, then call this again",
          EXIT.failed,
        );
      }
      const value = JSON.parse(result.stdout.trim().split("\n").at(-1) ?? "") as Found;
      return { value, done: value.ok ? "good" : "NOT good" };
    });
    const at = new Date().toISOString();
    const before = await readVerification(backupContainer);
    const verification: Verification = {
      ...{ at, backup: name, seconds: Math.round((Date.now() - began) / 100) / 10, ...found },
      lastGoodAt: found.ok ? at : (before?.lastGoodAt ?? null),
    };
    await writeVerification(backupContainer, verification);
    if (flags.json) printJson(verification);
    else print(told(verification));
    return found.ok ? EXIT.done : EXIT.failed;
  } finally {
    lock.release();
  }
}

function told({ backup, ok, problems, problemCount, tables, rows, seconds }: Verification): string {
  if (ok) {
    return `${backup} is good: restored, recovered and read in ${seconds} s; ${tables} tables with ${count(rows ?? 0)} rows, every index and every page's checksum.`;
  }
  const more = problemCount > problems.length ? `\n  … and ${problemCount - problems.length} more` : "";
  return `${backup} is NOT good:\n${problems.map((problem) => `  ${problem}`).join("\n")}${more}
Take a full backup (./cgraph-db backup --type full) and verify that one. If the same is wrong there, the database itself is damaged: docs/runbooks/backup-damaged.md.`;
}
