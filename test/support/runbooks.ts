/** The commands of docs/runbooks: found in the pages, filled in, and typed as a person would type them. */
import { chmodSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../scripts/lib/paths.ts";
import { type RunResult, run } from "../../scripts/lib/run.ts";

const FOLDER = join(ROOT, "docs", "runbooks");
/** Explains what the pages have in common; its own commands are examples of it. */
export const INDEX = "README.md";

export interface RunbookCommand {
  /** As the page has it, without comment, continued lines joined. SQL: the whole block. */
  readonly text: string;
  readonly kind: "sh" | "sql";
  /** In a block of its own, to be typed in turn; otherwise in a sentence, as one way or another. */
  readonly fenced: boolean;
}

export interface Runbook {
  /** File name in docs/runbooks. */
  readonly file: string;
  readonly title: string;
  /** From the top of the page to its end: fenced blocks, and commands within a sentence. */
  readonly commands: readonly RunbookCommand[];
}

/** What is a command within a sentence; other code there is a name. */
const INLINE = /^(\.\/cgraph-db|docker|aws|psql|patronictl|df|rm) \S/;

/** Lines of a block of sh: continued ones joined, comments and empty ones gone. */
const shLines = (block: string): RunbookCommand[] =>
  block
    .replace(/\\\n\s*/g, "")
    .split("\n")
    .map((line) => line.replace(/(^|\s+)# .*$/, "").trim())
    .filter((line) => line !== "")
    .map((text) => ({ text, kind: "sh", fenced: true }));

/** Throws an Error for a block in a language that nobody would run. */
export function commandsOf(page: string): RunbookCommand[] {
  // Blocks stand between pairs of fences: every second part is one.
  return page.split(/^\s*```/m).flatMap((part, index) => {
    if (index % 2 === 0) {
      return (part.match(/`[^`\n]+`/g) ?? [])
        .map((code): RunbookCommand => ({ text: code.slice(1, -1), kind: "sh", fenced: false }))
        .filter(({ text }) => INLINE.test(text));
    }
    const language = part.slice(0, part.indexOf("\n"));
    const body = part.slice(language.length + 1);
    if (language === "sh") return shLines(body);
    if (language === "sql") return [{ text: body.trim(), kind: "sql" as const, fenced: true }];
    throw new Error(`a block is in "${language}": use sh or sql`);
  });
}

export const runbookFiles = (): string[] => readdirSync(FOLDER).filter((file) => file !== INDEX);
export const readRunbook = (file: string): string => readFileSync(join(FOLDER, file), "utf8");

export function runbooks(): Runbook[] {
  return runbookFiles().map((file) => {
    const text = readRunbook(file);
    return { file, title: /^# (.+)$/m.exec(text)?.[1] ?? "", commands: commandsOf(text) };
  });
}

/** The index's table of words to fill in, with an example of each. */
export function placeholders(): Record<string, string> {
  const rows = [...readRunbook(INDEX).matchAll(/^\| `([A-Z]+)`\s*\|[^|]*\|[^|]*\| `([^`]+)`\s*\|$/gm)];
  return Object.fromEntries(rows.map(([, word = "", example = ""]) => [word, example]));
}

/** The words of a command that are to be filled in. SQL has a TABLE and an INDEX of its own. */
export const wordsOf = (text: string): string[] =>
  Object.keys(placeholders()).filter((word) => wordPattern(word).test(text));
const wordPattern = (word: string): RegExp =>
  new RegExp(`(?<![A-Za-z_$]|(?:ALTER|CREATE|DROP|TEMP) )${word}(?![A-Za-z_])`, "g");

export const fillIn = (text: string, values: Readonly<Record<string, string>>): string =>
  Object.entries(values).reduce((filled, [word, value]) => filled.replace(wordPattern(word), value), text);

export interface NotRun {
  /** How the command begins. */
  readonly command: string;
  readonly reason: string;
}

/** Every command that the pages have and no test of theirs runs. */
export const NOT_RUN: readonly NotRun[] = [
  { command: "aws ", reason: "needs an account" },
  { command: "docker pull ", reason: "needs a registry" },
  { command: "docker image prune ", reason: "would take what other stacks' builds are at work on" },
  {
    command: "./cgraph-db up --stack next ",
    reason: "a second stack; every test brings one up so",
  },
  {
    command: "./cgraph-db import --stack next ",
    reason: "tried in test/integration/import.test.ts, with a source in use",
  },
  ...[
    'printf %s "$BACKUP_KEY"',
    "./cgraph-db config set restoreFirst",
    "./cgraph-db up --stage 2",
    "./cgraph-db config unset restoreFirst",
    "docker volume create cgraph-STACK-backups",
    "docker run --rm --volume cgraph-STACK-backups:/to",
  ].map((command) => ({ command, reason: "another machine; tried in test/integration/backupPlaces.test.ts" })),
];

export const notRun = (text: string): NotRun | undefined => NOT_RUN.find(({ command }) => text.startsWith(command));

/** Commands that ask before they do something; without a terminal they must be answered in advance. */
const ASKS = [
  "up",
  "migrate",
  "down",
  "failover",
  "config apply",
  "partitions convert",
  "restore",
  "prune",
  "terminate",
];
/** Commands that are about no stack. */
const NO_STACK = ["setup", "schema show"];

/**
 * A folder to type commands in: its `cgraph-db` is the real one, told of the stack and answered yes, as the index says
 * that a person does.
 */
export function workplace(stack: string): string {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-runbook-"));
  const begins = (names: readonly string[]): string => names.map((name) => `"${name} "*`).join(" | ");
  writeFileSync(
    join(folder, "cgraph-db"),
    `#!/usr/bin/env bash
set -euo pipefail
more=()
# An option of the program's own may stand before the command.
said="$* "
said="\${said#--verbose }"
case "$said" in ${begins(NO_STACK)}) ;; *) more+=(--stack ${stack}) ;; esac
case "$said" in ${begins(ASKS)}) more+=(--yes) ;; esac
# What comes after -- is psql's.
before=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do before+=("$1"); shift; done
exec "${join(ROOT, "cgraph-db")}" "\${before[@]}" "\${more[@]}" "$@"
`,
  );
  chmodSync(join(folder, "cgraph-db"), 0o755);
  return folder;
}

/** Runs one command of a page in a workplace, in a shell. */
export function typed(command: RunbookCommand, text: string, folder: string): Promise<RunResult> {
  const options = { cwd: folder, timeoutMs: 400_000, env: { ...process.env, USER: "tester" } };
  return command.kind === "sh"
    ? run("bash", ["-euo", "pipefail", "-c", text], options)
    : run("./cgraph-db", ["psql", "--role", "cgraph_owner", "--", "-v", "ON_ERROR_STOP=1"], {
        ...options,
        input: text,
      });
}

/** Exit codes that are an answer and no failure: `doctor` tells severities, `status` and `setup --check` what is not well. */
export function answers(text: string): readonly number[] {
  if (/^\.\/cgraph-db doctor\b/.test(text)) return [0, 1, 2];
  if (/^\.\/cgraph-db ((--verbose )?status|setup --check)\b/.test(text)) return [0, 1];
  // 3: a server that goes has data; said with the flag that allows it.
  if (/^\.\/cgraph-db preview\b/.test(text)) return [0, 3];
  return [0];
}
