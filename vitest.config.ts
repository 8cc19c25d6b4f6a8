import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Waits for an emulated AWS nearly all of its seven minutes. */
const WAITING = "awsEmulated.test.ts";

/** What mostly waits begins first, beside the others. */
class WaitingFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const waits = (file: TestSpecification): boolean => file.moduleId.endsWith(WAITING);
    return [...sorted.filter(waits), ...sorted.filter((file) => !waits(file))];
  }
}

export default defineConfig({
  test: {
    reporters: ["default", "./test/support/summaryReporter.ts"],
    sequence: { sequencer: WaitingFirst },
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 30_000 } },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          globalSetup: "./test/support/leftovers.ts",
          // Each starts servers of its own: more than two at a time only wait for each other on two cores.
          maxWorkers: 2,
          testTimeout: 400_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
