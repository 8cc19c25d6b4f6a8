/** Backups that nobody has restored on trial. */
import { duration } from "../../tuning/words.ts";
import type { Check } from "../check.ts";
import { type Finding, finding } from "../finding.ts";

export interface Verification {
  /** When a backup was last restored on trial and found good; undefined: never. */
  readonly lastVerifiedAt: Date | undefined;
  /** Since when there are backups: what is a day old need not have been tried yet. */
  readonly since: Date;
  /** The last trial, where it found a backup that is not good. */
  readonly damaged: { readonly backup: string; readonly at: Date; readonly problems: readonly string[] } | undefined;
}

type Command = (words: string) => string;

const damagedFinding = ({ backup, at, problems }: NonNullable<Verification["damaged"]>, command: Command): Finding =>
  finding({
    check: "backup-verification",
    severity: "critical",
    subject: backup,
    says: `it is damaged: ${problems[0] ?? "see the last backup verify"}`,
    evidence: { verifiedAt: at.toISOString(), problems },
    fix: [command("backup --type full"), command("backup verify")],
    note: "if a new full backup is damaged too, the database itself is: docs/runbooks/backup-damaged.md",
  });

/** `now`: milliseconds since 1970. */
export function verificationFindings(
  { lastVerifiedAt, since, damaged }: Verification,
  now: number,
  verificationDays: number,
  command: Command,
): Finding[] {
  if (damaged) return [damagedFinding(damaged, command)];
  const seconds = (now - (lastVerifiedAt ?? since).getTime()) / 1000;
  const late = seconds > verificationDays * 86_400;
  if (!late && lastVerifiedAt !== undefined) return [];
  return [
    finding({
      check: "backup-verification",
      severity: late ? "warning" : "info",
      subject: "backups",
      says:
        lastVerifiedAt === undefined
          ? `none was ever restored on trial, in ${duration(seconds)}`
          : `the last one was restored on trial ${duration(seconds)} ago`,
      evidence: { lastVerifiedAt: lastVerifiedAt?.toISOString() ?? null, days: Math.floor(seconds / 86_400) },
      fix: [command("backup verify")],
      note: "only a backup that was restored is known to be one",
    }),
  ];
}

/** When a backup of the stack was last tried. */
export const backupVerificationCheck: Check = {
  id: "backup-verification",
  query: null,
  judge(_, { stack, now, thresholds }) {
    if (!stack) return { findings: [], notChecked: "PostgreSQL does not know of backups" };
    if (stack.target === "aws")
      return { findings: [], notChecked: "AWS takes the backups; restore one on trial there" };
    if (!stack.verification) {
      return { findings: [], notChecked: "there is no backup yet, or its container does not run" };
    }
    return { findings: verificationFindings(stack.verification, now, thresholds.verificationDays, stack.command) };
  },
};

/** Neither PostgreSQL nor its roles see the disk. */
export const diskCheck: Check = {
  id: "disk",
  query: null,
  judge: (_, { stack }) => ({
    findings: [],
    notChecked:
      stack?.target === "aws"
        ? "PostgreSQL does not tell; the alarms pg0-disk and the others watch it"
        : "PostgreSQL does not tell how large its disk is, nor how full",
  }),
};
