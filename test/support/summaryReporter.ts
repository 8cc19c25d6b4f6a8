import { stripVTControlCharacters } from "node:util";
import type { Reporter, TestCase, TestModule } from "vitest/node";

interface Failure {
  readonly message?: string;
  /** What was expected and what was there, line by line. */
  readonly diff?: string;
}

const firstLines = (text: string, lines: number): string => text.split("\n").slice(0, lines).join("\n  ");

/** What a command said ends with why it failed. */
function shortened(text: string): string {
  const lines = text.split("\n");
  return (lines.length <= 12 ? lines : [...lines.slice(0, 3), "…", ...lines.slice(-8)]).join("\n  ");
}

const reason = ({ message = "", diff }: Failure): string =>
  `\n  ${shortened(message)}${diff === undefined ? "" : `\n  ${firstLines(stripVTControlCharacters(diff), 24)}`}`;

const reasons = (errors: readonly Failure[]): string => errors.map(reason).join("");

/**
 * Ends a run with every skipped test by name and reason, then every failed one with its error, and the line
 * `N passed, N failed, N skipped`: whoever has only the end of the output has what matters.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly Failure[]): void {
    const tests: TestCase[] = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string): number => tests.filter((test) => test.result().state === state).length;
    for (const test of tests) {
      const result = test.result();
      if (result.state === "skipped")
        console.log(`skipped: ${test.fullName}${result.note === undefined ? "" : `: ${result.note}`}`);
    }
    for (const test of tests) {
      const result = test.result();
      if (result.state === "failed")
        console.log(`failed: ${test.module.relativeModuleId} > ${test.fullName}${reasons(result.errors)}`);
    }
    // A file that does not load, or whose set-up fails, has failed without a failed test.
    const broken = modules.filter(
      (module) => module.state() === "failed" && ![...module.children.allTests("failed")].length,
    );
    for (const module of broken) console.log(`failed: ${module.relativeModuleId}${reasons(module.errors())}`);
    if (errors.length > 0) console.log(`failed: outside of any test${reasons(errors)}`);
    console.log(
      `${count("passed")} passed, ${count("failed") + broken.length + errors.length} failed, ${count("skipped")} skipped`,
    );
  }
}
