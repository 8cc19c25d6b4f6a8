import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PlannedStep } from "../../migration/moveSteps.ts";
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import { asOwner, chatDuring, currentValues, reseed } from "../support/chat.ts";
import { SMALL, cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { killDuring } from "../support/killing.ts";
import { FULL, LONG } from "../support/longDrills.ts";

/**
 * Every step of both moves, each gone on with and taken back, is the long drill; here the one that stops the server.
 * `3:verify,3:finish`: only these steps of the long drill.
 */
const ONLY = process.env["CGRAPH_TEST_STEPS"]?.split(",");
const LOAD = { clients: 8, oldMessages: 2000, perSecond: 100 };
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

/** To a stage, unless it is there. */
const bring = async (stage: number): Promise<void> => {
  if ((await currentValues(stack)).stage === stage) return;
  await cgraphOk("migrate", "--stack", stack, "--stage", String(stage), "--yes");
};

/** Messages as one table again: they stay partitioned when a stage is left. */
async function unpartition(): Promise<void> {
  await asOwner(stack, async (client) => {
    // With what the conversion has left beside it, by which it knows how far it was.
    await client.query("DROP TABLE IF EXISTS messages, reactions, messages_unpartitioned, messages_deleted CASCADE");
    await client.query("DELETE FROM partman.part_config WHERE parent_table = 'public.messages'");
  });
  await cgraphOk("schema", "apply", "--stack", stack);
}

interface Drill {
  readonly from: number;
  readonly to: number;
  readonly step: string;
  readonly how: "--resume" | "--rollback";
}

/** Kills a move in a step, goes on with it or takes it back, and looks that it is where it should be, with everything. */
async function drill({ from, to, step, how }: Drill, afterMs: number): Promise<void> {
  await bring(from);
  await reseed(stack, LOAD.oldMessages);
  const { result: end } = await chatDuring(stack, { ...LOAD, direct: to < from }, async () => {
    const args = ["migrate", "--stack", stack, "--stage", String(to), "--yes"];
    const under = await killDuring(stack, step, args, afterMs);
    const next = await cgraph(["migrate", "--stack", stack, how, "--yes"]);
    // The last step may have ended before it was killed.
    const ended = !under && next.code !== 0 && next.stderr.includes("is in no move");
    expect(ended ? 0 : next.code, `${step} ${how} after ${afterMs} ms:\n${next.stderr}`).toBe(0);
    console.log(`${step} ${how}: killed ${Math.round(afterMs)} ms into it${under ? "" : ", when it had just ended"}`);
    return how === "--resume" || ended ? to : from;
  });
  expect((await currentValues(stack)).stage).toBe(end);
  expect(await verdict()).toBe("none");
}

/** Every drill is made, also after one that failed; what failed is told at the end. */
async function all(drills: readonly Drill[], withinMs: number): Promise<void> {
  const failures: string[] = [];
  for (const one of drills.filter(({ step }) => ONLY?.includes(step) !== false)) {
    await (async () => {
      await bring(one.from);
      if (one.step === "3:partitions") await unpartition();
      await drill(one, Math.random() * withinMs);
    })().catch(async (error: unknown) => {
      failures.push(String(error));
      console.log(`FAILED: ${String(error)}`);
      // What is left of it must not fail the next one.
      await cgraph(["migrate", "--stack", stack, "--rollback", "--yes"]);
    });
  }
  expect(failures).toEqual([]);
}

const bothWays = (from: number, to: number, named: readonly string[]): Drill[] =>
  named.flatMap((step) => (["--rollback", "--resume"] as const).map((how) => ({ from, to, step, how })));

describe("a migration that is killed (-9)", () => {
  it("in the step that stops the server goes on, nothing lost, nothing twice", { timeout: 600_000 }, async () => {
    await drill({ from: 1, to: 2, step: "2:takeover", how: "--resume" }, 1500);
  });

  it.runIf(FULL)(`or is taken back, nothing lost, nothing twice${LONG}`, { timeout: 600_000 }, async () => {
    await drill({ from: 1, to: 2, step: "2:takeover", how: "--rollback" }, 2500);
  });

  it.runIf(FULL)(`in every step of 1 to 2, both ways${LONG}`, { timeout: 3_600_000 }, async () => {
    await bring(1);
    await all(bothWays(1, 2, await steps(2)), 4000);
  });

  it.runIf(FULL)(`in every step of 2 to 3, both ways${LONG}`, { timeout: 7_200_000 }, async () => {
    await bring(2);
    await all(bothWays(2, 3, await steps(3)), 6000);
  });

  it.runIf(FULL)(`in every step of 3 to 1, gone on with${LONG}`, { timeout: 7_200_000 }, async () => {
    await bring(3);
    const drills = (await steps(1)).map((step) => ({ from: 3, to: 1, step, how: "--resume" }) as const);
    await all(drills, 4000);
  });
});
