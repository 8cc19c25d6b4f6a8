import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { everyAlert } from "../../monitoring/alerts/index.ts";
import { runbookOf } from "../../monitoring/alerts/alert.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import {
  INDEX,
  NOT_RUN,
  commandsOf,
  fillIn,
  placeholders,
  readRunbook,
  runbookFiles,
  runbooks,
  wordsOf,
} from "../support/runbooks.ts";
import { SITUATIONS, ORDER } from "../support/runbookSituations.ts";

const SECTIONS = ["## Do", "## It worked when", "## The way back"];
const alertPages = everyAlert().map(({ id }) => runbookOf(id));

describe("commands of a page", () => {
  it("are the lines of its blocks and the commands in its sentences", () => {
    const page = [
      "Call `./cgraph-db up`, then look at `max_connections` (`docker ps -a`).",
      "```sh",
      "./cgraph-db status # who runs",
      "# nothing",
      "./cgraph-db psql -- \\",
      "  -c 'SELECT 1'",
      "```",
      "   ```sql",
      "SELECT 1;",
      "SELECT 2;",
      "   ```",
    ].join("\n");
    expect(commandsOf(page)).toEqual([
      { kind: "sh", text: "./cgraph-db up", fenced: false },
      { kind: "sh", text: "docker ps -a", fenced: false },
      { kind: "sh", text: "./cgraph-db status", fenced: true },
      { kind: "sh", text: "./cgraph-db psql -- -c 'SELECT 1'", fenced: true },
      { kind: "sql", text: "SELECT 1;\nSELECT 2;", fenced: true },
    ]);
  });
  it("are in a language that is run", () => {
    expect(() => commandsOf("```console\n$ ls\n```")).toThrow('in "console"');
    expect(() => commandsOf("```\nls\n```")).toThrow('in ""');
  });
  it("have words to fill in, and SQL's own words stay", () => {
    const text = 'vacuum TABLE; psql -c "ALTER TABLE messages", cgraph-STACK-SERVER PIDS';
    expect(wordsOf(text).sort()).toEqual(["SERVER", "STACK", "TABLE"]);
    expect(fillIn(text, { TABLE: "users", STACK: "dev", SERVER: "pg1", PID: "1" })).toBe(
      'vacuum users; psql -c "ALTER TABLE messages", cgraph-dev-pg1 PIDS',
    );
  });
});

describe("docs/runbooks", () => {
  const files = runbookFiles();
  it("has a page for every alert", () => {
    expect(alertPages.filter((file) => !files.includes(file))).toEqual([]);
  });
  it("links to pages that there are", () => {
    for (const file of [INDEX, ...files]) {
      const links = [...readRunbook(file).matchAll(/\]\(([^)#]+)/g)].map(([, link]) => link ?? "");
      for (const link of links) expect(existsSync(join(ROOT, "docs", "runbooks", link)), `${file}: ${link}`).toBe(true);
    }
  });
  it("has an index with every page, by its title", () => {
    const index = readRunbook(INDEX);
    for (const { file, title } of runbooks()) expect(index, file).toContain(`[${title}](${file})`);
  });
  it("says of each operation when, what one sees, what to do, whether it worked, and the way back", () => {
    for (const file of files.filter((one) => !alertPages.includes(one))) {
      const text = readRunbook(file);
      expect(text, file).toMatch(/^\*\*When\*\*: .+\n\n\*\*What you see\*\*: .+$/m);
      expect(
        [...text.matchAll(/^## .+$/gm)].map(([line]) => line),
        file,
      ).toEqual(SECTIONS);
    }
  });
  it("has commands on every page, and in none a word that the index does not explain", () => {
    // What is written in capitals and is not SQL, a variable or a name of ours.
    for (const { file, commands } of runbooks()) {
      expect(commands.length, file).toBeGreaterThan(0);
      for (const { text, kind } of commands.filter((one) => one.kind === "sh")) {
        const words = text.replace(/"[^"]*"|'[^']*'/g, "").match(/(?<![\w$])[A-Z]{3,}(?![A-Za-z_])/g) ?? [];
        expect(
          words.filter((word) => !(word in placeholders())),
          `${file}: ${kind} ${text}`,
        ).toEqual([]);
      }
    }
  });
  it("lists as not run only what is there", () => {
    const all = runbooks().flatMap(({ commands }) => commands.map(({ text }) => text));
    for (const { command } of NOT_RUN)
      expect(
        all.some((text) => text.startsWith(command)),
        command,
      ).toBe(true);
  });
  it("has a page for each situation that is prepared, and for each that has its turn", () => {
    for (const file of [...Object.keys(SITUATIONS), ...ORDER.first, ...ORDER.last]) expect(files).toContain(file);
  });
});
