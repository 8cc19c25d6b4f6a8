import type { Reporter, TestCase, TestModule } from "vitest/node";

/** Ends a run with every skipped test by name and reason, and the line `N passed, N failed, N skipped`. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests: TestCase[] = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string): number => tests.filter((test) => test.result().state === state).length;
    for (const test of tests) {
      const result = test.result();
      if (result.state === "skipped")
        console.log(`skipped: ${test.fullName}${result.note === undefined ? "" : `: ${result.note}`}`);
    }
    // A file that does not load, or whose set-up fails, has failed without a failed test.
    const broken = modules.filter(
      (module) => module.state() === "failed" && ![...module.children.allTests("failed")].length,
    ).length;
    console.log(
      `${count("passed")} passed, ${count("failed") + broken + errors.length} failed, ${count("skipped")} skipped`,
    );
  }
}
