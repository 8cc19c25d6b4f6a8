import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PlannedStep } from "../../migration/moves.ts";
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import { chatDuring, currentValues, reseed } from "../support/chat.ts";
import { SMALL, cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { killDuring } from "../support/killing.ts";

/** Every step of both moves, each gone on with and taken back, is the long drill; here the one that stops the server. */
const FULL = process.env["CGRAPH_TEST_FULL"] === "1";
const LONG = FULL ? "" : " (skipped: a long drill, ./cgraph-db test --full)";
const LOAD = { clients: 8, oldMessages: 2000 };
const stack = uniqueStack();

beforeAll(async () => {
  const port = String(await freePort());
  await setConfig(stack, { ...SMALL, maxConnections: "60", port, baseImage: (await findBaseImage()) ?? "" });
  await cgraphOk("up", "--stack", stack, "--no-install");
  await cgraphOk("schema", "apply", "--stack", stack);
});
afterAll(() => removeStack(stack));

const verdict = async (): Promise<string> =>
  (JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string }).verdict;
const steps = async (stage: number): Promise<string[]> => {
  const args = ["migrate", "--stack", stack, "--stage", String(stage), "--dry-run", "--json"];
  return (JSON.parse(await cgraphOk(...args)) as { steps: PlannedStep[] }).steps.map(({ id }) => id);
};

/** Kills a move in a step, goes on with it or takes it back, and looks that it is where it should be, with everything. */
async function drill(to: number, step: string, how: "--resume" | "--rollback", afterMs: number): Promise<void> {
  const from = (await currentValues(stack)).stage;
  await reseed(stack, LOAD.oldMessages);
  const { result: under } = await chatDuring(stack, { ...LOAD, direct: to < from }, async () => {
    const killed = await killDuring(
      stack,
      step,
      ["migrate", "--stack", stack, "--stage", String(to), "--yes"],
      afterMs,
    );
    const next = await cgraph(["migrate", "--stack", stack, how, "--yes"]);
    expect(next.code, `${step} ${how} after ${afterMs} ms:\n${next.stderr}`).toBe(0);
    return killed;
  });
  console.log(`${step} ${how}: killed ${Math.round(afterMs)} ms into it${under ? "" : ", when it had just ended"}`);
  const end = how === "--resume" ? to : from;
  expect((await currentValues(stack)).stage).toBe(end);
  expect(await verdict()).toBe("none");
}

/** To a stage, unless it is there. */
const back = async (stage: number): Promise<void> => {
  if ((await currentValues(stack)).stage === stage) return;
  await cgraphOk("migrate", "--stack", stack, "--stage", String(stage), "--yes");
};

/** Every drill is made, also after one that failed; what failed is told at the end. */
async function all(drills: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: string[] = [];
  for (const one of drills) {
    await one().catch(async (error: unknown) => {
      failures.push(String(error));
      console.log(`FAILED: ${String(error)}`);
      // What is left of it must not fail the next one.
      await cgraph(["migrate", "--stack", stack, "--rollback", "--yes"]);
    });
  }
  expect(failures).toEqual([]);
}

describe("a migration that is killed (-9)", () => {
  it("in the step that stops the server goes on, nothing lost, nothing twice", { timeout: 300_000 }, async () => {
    await drill(2, "2:takeover", "--resume", 1500);
  });

  it("or is taken back, nothing lost, nothing twice", { timeout: 300_000 }, async () => {
    await back(1);
    await drill(2, "2:takeover", "--rollback", 2500);
  });

  it.runIf(FULL)(`in every step of 1 to 2, both ways${LONG}`, { timeout: 3_600_000 }, async () => {
    await back(1);
    const drills = (await steps(2)).flatMap((step) => [
      () => drill(2, step, "--rollback", Math.random() * 4000),
      async () => {
        await drill(2, step, "--resume", Math.random() * 4000);
        await back(1);
      },
    ]);
    await all(drills);
  });

  it.runIf(FULL)(`in every step of 2 to 3, both ways${LONG}`, { timeout: 7_200_000 }, async () => {
    await back(2);
    const drills = (await steps(3)).flatMap((step) => [
      () => drill(3, step, "--rollback", Math.random() * 6000),
      async () => {
        await drill(3, step, "--resume", Math.random() * 6000);
        await back(2);
      },
    ]);
    await all(drills);
  });

  it.runIf(FULL)(`in every step of 3 to 1, gone on with${LONG}`, { timeout: 7_200_000 }, async () => {
    await back(3);
    const drills = (await steps(1)).map((step) => async () => {
      await back(3);
      await drill(1, step, "--resume", Math.random() * 4000);
    });
    await all(drills);
  });
});
