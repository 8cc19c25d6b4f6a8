import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readStackConfig, unsetStackConfig } from "../../scripts/lib/stackConfig.ts";
import { cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ORDER, SITUATIONS, usualWords } from "../support/runbookSituations.ts";
import {
  type RunbookCommand,
  answers,
  fillIn,
  notRun,
  placeholders,
  runbooks,
  typed,
  wordsOf,
  workplace,
} from "../support/runbooks.ts";

/** All pages take a quarter of an hour: here those that a stack at stage 1 has, and that do not restart or copy it. */
const FULL = process.env["CGRAPH_TEST_FULL"] === "1";
const LONG = "a long drill, ./cgraph-db test --full";
const QUICK: readonly string[] = [
  ...["backup-now.md", "backup-damaged.md", "add-index.md", "connect.md", "lock-contention.md", "vacuum.md"],
  ...["idle-in-transaction.md", "long-transaction.md", "slow-query.md", "take-a-look.md", "transaction-id-age.md"],
];

/** One stack for all pages: it begins at stage 1, and the page about moving brings it to stage 3. */
const stack = uniqueStack();
const folder = workplace(stack);

const pages = runbooks();
const inOrder = (files: readonly string[]) =>
  files.map((file) => pages.find((page) => page.file === file)).filter((page) => page !== undefined);
const special: readonly string[] = [...ORDER.first, ...ORDER.last];
const turns = [...inOrder(ORDER.first), ...pages.filter(({ file }) => !special.includes(file)), ...inOrder(ORDER.last)];

/** Only looks: once is enough, but where a situation says what it must show. */
const LOOKS = /^\.\/cgraph-db (status|doctor|inspect|logs|backups|assess|config show)\b/;
/** What a page types of its own, whatever others have typed. */
const ownOf = (page: (typeof pages)[number]): RunbookCommand[] =>
  page.file in SITUATIONS ? page.commands.filter(({ fenced, text }) => fenced && !LOOKS.test(text)) : [];
/** Typed in a situation at some time: elsewhere the same words need not be typed again. */
const elsewhere = new Set(pages.flatMap((page) => ownOf(page).map(({ text }) => text)));
const done = new Set<string>();

beforeAll(async () => {
  await setConfig(stack, { maxConnections: "100", cacheMemoryMiB: "64", port: String(await freePort()) });
  await cgraphOk("up", "--stack", stack, "--stage", "1", "--no-install");
  await cgraphOk("schema", "apply", "--stack", stack);
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await removeStack(stack);
});

/** Puts the configuration's keys that a page has set back to what they were. */
async function restoreConfig(before: Record<string, string>, commands: readonly RunbookCommand[]): Promise<void> {
  const now = readStackConfig(stack);
  for (const { text } of commands) {
    const key = /^\.\/cgraph-db config set (\w+)/.exec(text)?.[1];
    if (key === undefined || now[key] === before[key]) continue;
    const value = before[key];
    if (value === undefined) unsetStackConfig(stack, key);
    else await setConfig(stack, { [key]: value });
  }
}

describe("the commands of the runbook", { timeout: 600_000 }, () => {
  it.for(turns.map((page) => [page.file, page] as const))("%s", async ([file, page], context) => {
    context.skip(!FULL && !QUICK.includes(file), LONG);
    const own = new Set(ownOf(page));
    const before = readStackConfig(stack);
    const situation = (await SITUATIONS[file]?.(stack)) ?? {};
    const typedHere = (command: RunbookCommand): boolean =>
      own.has(command) ||
      (command.fenced && situation.prints?.[command.text] !== undefined) ||
      (!done.has(command.text) && !elsewhere.has(command.text));
    const commands = page.commands.filter((command) => !notRun(command.text) && typedHere(command));
    const usual = await usualWords(
      stack,
      folder,
      commands.flatMap(({ text }) => wordsOf(text)),
    );
    const words = { ...placeholders(), ...usual.words, ...situation.words };
    try {
      for (const command of commands) {
        // In a sentence further down it is the same command again.
        if (!typedHere(command)) continue;
        const text = fillIn(command.text, words);
        const { code, stdout, stderr } = await typed(command, text, folder);
        expect(answers(command.text), `${text} ended with ${code}:\n${stderr}\n${stdout}`).toContain(code);
        const prints = situation.prints?.[command.text];
        if (prints) expect(stdout, text).toMatch(prints);
        await situation.after?.[command.text]?.();
        done.add(command.text);
      }
    } finally {
      await usual.end();
    }
    await situation.end?.();
    await restoreConfig(before, file === "add-replicas.md" ? [] : commands);
  });

  it("are all typed, or listed with the reason", (context) => {
    context.skip(!FULL, LONG);
    const left = pages.flatMap(({ file, commands }) =>
      commands.filter(({ text }) => !done.has(text) && !notRun(text)).map(({ text }) => `${file}: ${text}`),
    );
    expect(left).toEqual([]);
  });
});
