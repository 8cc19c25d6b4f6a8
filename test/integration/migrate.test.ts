import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ChatReport } from "../../bench/chatLoad.ts";
import { distribution } from "../../bench/pauses.ts";
import type { PlannedStep } from "../../migration/moveSteps.ts";
import type { MoveReport } from "../../migration/report.ts";
import { run } from "../../scripts/lib/run.ts";
import type { Changed } from "../../scripts/migrate/context.ts";
import type { JournalStep } from "../../scripts/migrate/journal.ts";
import { superuserSql } from "../../scripts/lib/cluster.ts";
import { listLabelled } from "../../scripts/lib/docker.ts";
import { findBaseImage } from "../../scripts/setup/baseImage.ts";
import { asOwner, chatDuring, currentValues, reseed } from "../support/chat.ts";
import { SMALL, cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { expectNothingToMend } from "../support/doctor.ts";

const FULL = process.env["CGRAPH_TEST_FULL"] === "1";
// What matters shows at a moderate load too; all that the clients can takes the machine from the tests beside.
const LOAD = { clients: 20, oldMessages: 5000, ...(FULL ? {} : { perSecond: 200 }) };
const stack = uniqueStack();

beforeAll(async () => {
  const port = String(await freePort());
  await setConfig(stack, { ...SMALL, maxConnections: "60", port, baseImage: (await findBaseImage()) ?? "" });
  await cgraphOk("up", "--stack", stack, "--no-install");
  await cgraphOk("schema", "apply", "--stack", stack);
  await reseed(stack, LOAD.oldMessages);
});
afterAll(() => removeStack(stack));

interface Moved {
  readonly stage: number;
  readonly steps: readonly JournalStep[];
}

const dryRun = async (stage: number): Promise<readonly PlannedStep[]> =>
  (
    JSON.parse(await cgraphOk("migrate", "--stack", stack, "--stage", String(stage), "--dry-run", "--json")) as {
      steps: PlannedStep[];
    }
  ).steps;
const move = async (...args: string[]): Promise<Moved> =>
  JSON.parse(await cgraphOk("migrate", "--stack", stack, "--yes", "--json", ...args)) as Moved;
const verdict = async (): Promise<string> =>
  (JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string }).verdict;

const foretell = async (stage: number): Promise<MoveReport> =>
  JSON.parse(await cgraphOk("preview", "--stack", stack, "--stage", String(stage), "--json")) as MoveReport;

/** What becomes of each resource, by URN: made and then changed is made, changed and then replaced is replaced. */
function inAll(changes: readonly Changed[]): Record<string, string> {
  const weight = ["update", "replace", "create", "delete"];
  const found: Record<string, string> = {};
  for (const { urn, op } of changes) {
    if (weight.indexOf(op) >= weight.indexOf(found[urn] ?? "update")) found[urn] = op;
  }
  return found;
}

/** How often each server's PostgreSQL has started since a moment. */
async function startsSince(moment: string): Promise<Record<string, number>> {
  const { nodes } = await currentValues(stack);
  const starts = nodes.map(async ({ name, container }): Promise<[string, number]> => {
    const { stdout, stderr } = await run("docker", ["logs", "--since", moment, container]);
    return [name, `${stdout}${stderr}`.match(/starting PostgreSQL \d+/g)?.length ?? 0];
  });
  return Object.fromEntries(await Promise.all(starts));
}

/** Holds what was foretold against what happened: steps, resources, and the longest time in which writes paused. */
function compare(
  { steps, changes, longestPause }: MoveReport,
  moved: Moved,
  { longestPauseMs, pauses }: ChatReport,
): void {
  expect(moved.steps.map(({ id, state }) => [id, state])).toEqual(steps.map(({ id }) => [id, "done"]));
  const changed = moved.steps.flatMap(({ facts }) => (facts["changed"] ?? []) as Changed[]);
  expect(inAll(changed)).toEqual(inAll(changes));
  const foretoldMs = (longestPause?.seconds ?? 0) * 1000;
  console.log(
    `writes paused ${longestPauseMs} ms at the longest; foretold ${foretoldMs} ms; pauses of ${distribution(pauses)}`,
  );
  // Beside other tests a pause says nothing.
  if (FULL) {
    expect(longestPauseMs).toBeLessThanOrEqual(foretoldMs * 2);
    expect(longestPauseMs).toBeGreaterThanOrEqual(foretoldMs / 2);
  }
}

const nothingLeft = async (): Promise<void> => {
  const { nodes } = await currentValues(stack);
  for (const { container } of nodes) {
    expect(await superuserSql(container, "SELECT count(*) FROM pg_event_trigger", "cgraph_production")).toBe("0");
    const names = nodes.map(({ name }) => name).join(",");
    expect(
      await superuserSql(
        container,
        `SELECT string_agg(slot_name, ',') FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT slot_name = ANY ('{${names}}')`,
      ),
    ).toBe("");
  }
};

describe("migrate", () => {
  it("says what is wrong with a wish before it does anything", async () => {
    for (const [args, code, words] of [
      [["--stage", "1"], 2, "is at stage 1 already"],
      [["--stage", "7"], 2, "there is no stage 7"],
      [[], 2, "migrate where to?"],
      [["--resume"], 3, "is in no move"],
      [["--stage", "2", "--pause-after", "2:nonsense"], 2, "the move has no step 2:nonsense"],
      [["--stage", "2"], 3, "there is no terminal to answer at"],
    ] as const) {
      const found = await cgraph(["migrate", "--stack", stack, ...args]);
      expect(found.stderr).toContain(words);
      expect(found.code, words).toBe(code);
    }
  });

  it("pauses where it is told to, refuses others meanwhile, and is taken back", async () => {
    const { steps } = await move("--stage", "2", "--pause-after", "2:prepare");
    expect(steps.filter(({ state }) => state === "done").map(({ id }) => id)).toEqual([
      "2:check",
      "2:backup",
      "2:freeze",
      "2:prepare",
    ]);
    for (const args of [["up"], ["down"], ["config", "apply"], ["migrate", "--stage", "3"]]) {
      const refused = await cgraph(
        [...args, "--stack", stack, "--yes"].filter((one) => args[0] !== "down" || one !== "x"),
      );
      expect(refused.code, args.join(" ")).toBe(3);
      expect(refused.stderr).toContain("--rollback");
    }
    await expect(
      asOwner(stack, (client) => client.query("SET application_name = 'app'; CREATE TABLE t ()")),
    ).rejects.toThrow("is under way: no changes of the schema");
    // Temporary tables are the application's own affair.
    await asOwner(stack, (client) =>
      client.query("SET application_name = 'app'; CREATE TEMP TABLE t (); DROP TABLE t"),
    );
    await move("--rollback");
    expect((await currentValues(stack)).stage).toBe(1);
    expect(await verdict()).toBe("none");
    await nothingLeft();
    expect(
      (await listLabelled("volume", stack)).map(({ name }) => name).filter((name) => /pg1|etcd/.test(name)),
    ).toEqual([]);
  });

  it("1 to 2 in use: nothing lost, nothing twice, one restart, as foretold", { timeout: 600_000 }, async () => {
    const foretold = await foretell(2);
    const began = new Date().toISOString();
    const { result, report } = await chatDuring(stack, LOAD, () => move("--stage", "2"));
    compare(foretold, result, report);
    // Where it comes under Patroni; the replica when it is made.
    expect(await startsSince(began)).toEqual({ pg0: 1, pg1: 1 });
    expect((await currentValues(stack)).nodes.map(({ name }) => name)).toEqual(["pg0", "pg1"]);
    expect(await verdict()).toBe("none");
    await nothingLeft();
    await expectNothingToMend(stack);
  });

  it("2 to 3 in use: no error at all for clients of the pool, messages by month", { timeout: 600_000 }, async () => {
    await reseed(stack, LOAD.oldMessages);
    const foretold = await foretell(3);
    expect(foretold.steps.map(({ id }) => id)).toEqual(expect.arrayContaining(["3:restart", "3:partitions"]));
    const began = new Date().toISOString();
    const { result, report } = await chatDuring(stack, LOAD, () => move("--stage", "3"));
    expect({ errors: report.errors, messages: report.messages }).toEqual({ errors: 0, messages: [] });
    compare(foretold, result, report);
    // The step `restart` for those that were there; the others when they are made, and for the slots that they copy.
    expect(await startsSince(began)).toMatchObject({ pg0: 1, pg1: 1 });
    const values = await currentValues(stack);
    expect(values.nodes).toHaveLength(4);
    const kind = await superuserSql(
      values.nodes[0]?.container ?? "",
      "SELECT relkind FROM pg_class WHERE oid = 'public.messages'::regclass",
      "cgraph_production",
    );
    expect(kind).toBe("p");
    expect(await verdict()).toBe("none");
    await nothingLeft();
    await expectNothingToMend(stack);
  });

  it("3 to 1: the data stays, whoever was primary, and nothing is left over", { timeout: 600_000 }, async () => {
    await cgraphOk("switchover", "--stack", stack);
    const count = (): Promise<string> =>
      asOwner(stack, async (client) => {
        const { rows } = await client.query<{ n: string }>("SELECT count(*) AS n FROM messages");
        return rows[0]?.n ?? "";
      });
    const before = await count();
    const planned = await dryRun(1);
    expect(planned.filter(({ noReturn }) => noReturn !== null).map(({ id }) => id)).toEqual(["2:discard", "1:discard"]);
    const { steps } = await move("--stage", "1");
    expect(steps.map(({ id, state }) => [id, state])).toEqual(planned.map(({ id }) => [id, "done"]));
    expect(await count()).toBe(before);
    expect((await currentValues(stack)).stage).toBe(1);
    expect(await verdict()).toBe("none");
    await nothingLeft();
    const volumes = (await listLabelled("volume", stack)).map(({ name }) => name);
    expect(volumes.filter((name) => /pg[1-9]|etcd/.test(name))).toEqual([]);
  });
});
