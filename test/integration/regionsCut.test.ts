import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listLabelled } from "../../scripts/lib/docker.ts";
import { openJournal } from "../../scripts/migrate/journal.ts";
import { removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { eventually } from "../support/eventually.ts";
import { FULL, LONG } from "../support/longDrills.ts";
import { FAR, HOME, NEAR, RegionalStack, type Writer, longestGapMs } from "../support/regions.ts";

/** A region that is cut off ends its writes after eight seconds, and its servers after as many more at the latest. */
const FENCED_MS = 16_000;
/** A command that cannot go on says so within this time. */
const BOUNDED_MS = 400_000;

/** Writes that were acknowledged while nobody may take any. */
const between = ({ acknowledged }: Writer, from: number, until: number): number =>
  acknowledged.filter(({ at }) => at > from && at < until).length;

describe.runIf(FULL)(`a move between stages in whose middle a region is cut off${LONG}`, () => {
  const stack = uniqueStack();
  const regions = new RegionalStack(stack);
  let writers: readonly Writer[] = [];

  /** Until a step of the move has begun, or the move is over. */
  const inStep = (id: string, isOver: () => boolean) =>
    eventually(
      `step ${id}`,
      () => {
        const state = openJournal(stack)?.steps.find((one) => one.id === id)?.state ?? "pending";
        return Promise.resolve(state !== "pending" || isOver());
      },
      300_000,
    );
  const follows = () => eventually("every region to follow", () => regions.isFollowing(), 200_000);
  const stage = async (): Promise<number> =>
    (JSON.parse((await regions.run("status", "--json")).stdout) as { stage: number }).stage;

  /** Begins a move, cuts the region off in a step, and gives how the command ends and how long it takes to. */
  async function cutIn(step: string, region: string, to: string) {
    const moving = regions.run("migrate", "--stage", to, "--yes");
    let over = false;
    void moving.then(() => (over = true));
    await inStep(step, () => over);
    expect(over).toBe(false);
    await regions.ok("region", "cut", region);
    const cutAt = Date.now();
    const { code, stderr } = await moving;
    const seconds = (Date.now() - cutAt) / 1000;
    console.log(
      `${region} cut in ${step}: ${code} after ${seconds.toFixed(0)} s; ${stderr.slice(stderr.lastIndexOf("cgraph-db:"))}`,
    );
    expect(Date.now() - cutAt).toBeLessThan(BOUNDED_MS);
    return { code, stderr, cutAt };
  }

  beforeAll(async () => {
    await regions.up(2, [HOME, NEAR]);
    await regions.ok("schema", "apply");
    await ask(
      regions.env["DATABASE_OWNER_URL"],
      `WITH u AS (INSERT INTO users (username, email) SELECT 'u' || n, 'u' || n FROM generate_series(1, 50) n RETURNING id),
         c AS (INSERT INTO conversations DEFAULT VALUES RETURNING id)
       INSERT INTO messages (conversation_id, sender_id, content) SELECT c.id, u.id, 'text' FROM u, c, generate_series(1, 200)`,
    );
    writers = [regions.writer(HOME, "moves"), regions.writer(NEAR, "moves")];
  }, 1_200_000);
  afterAll(async () => {
    await Promise.all(writers.map((writer) => writer.stop()));
    await removeStack(stack);
  });

  it(
    "ends when it is the primary's, says so, takes no writes anywhere, and can be taken back",
    { timeout: 1_200_000 },
    async () => {
      const { code, stderr, cutAt } = await cutIn("3:extend", HOME, "3");
      expect([code, stderr]).toEqual([expect.any(Number), expect.stringContaining(`${HOME}, which has the primary, `)]);
      expect(code).not.toBe(0);
      for (const how of ["--resume", "--rollback"]) {
        const { code: again, stderr: said } = await regions.run("migrate", how, "--yes");
        expect([again, said]).toEqual([3, expect.stringContaining(`${HOME}, which has the primary, is cut off`)]);
      }
      const healedAt = Date.now();
      expect(writers.map((writer) => between(writer, cutAt + FENCED_MS, healedAt))).toEqual([0, 0]);
      await regions.ok("region", "heal", HOME);
      await follows();
      await regions.ok("migrate", "--rollback", "--yes");
      expect(await stage()).toBe(2);
      await Promise.all(writers.map((writer) => writer.more(20)));
    },
  );

  it("goes on without another region where it can, or when that is back", { timeout: 1_200_000 }, async () => {
    const { code, stderr } = await cutIn("3:extend", NEAR, "3");
    if (code !== 0) expect(stderr).toContain(`${NEAR} is cut off`);
    await regions.ok("region", "heal", NEAR);
    await follows();
    if (openJournal(stack)) await regions.ok("migrate", "--resume", "--yes");
    expect(await stage()).toBe(3);
    await follows();
  });

  it("goes on on the way back too, when the primary's region is back", { timeout: 1_200_000 }, async () => {
    const { code, stderr } = await cutIn("2:shrink", HOME, "2");
    expect([code, stderr]).toEqual([expect.any(Number), expect.stringContaining(`${HOME}, which has the primary, `)]);
    expect(code).not.toBe(0);
    await regions.ok("region", "heal", HOME);
    await follows();
    await regions.ok("migrate", "--resume", "--yes");
    expect(await stage()).toBe(2);
    await follows();
  });

  it("has lost nothing, in no region", { timeout: 200_000 }, async () => {
    await Promise.all(writers.map((writer) => writer.more(20)));
    await Promise.all(writers.map((writer) => writer.stop()));
    for (const region of [HOME, NEAR]) {
      const inRegion = () =>
        Promise.all(writers.map((writer) => regions.missing(writer, region, "DATABASE_REPLICA_URL")));
      await eventually(`all of it in ${region}`, async () => (await inRegion()).flat().length === 0);
    }
    const { primary, promotions } = await regions.list();
    expect([primary?.region, primary?.epoch, promotions]).toEqual([HOME, 1, []]);
  });

  it("lets the primary move in its middle, and goes on when that is home again", { timeout: 1_200_000 }, async () => {
    await regions.ok("migrate", "--stage", "3", "--pause-after", "3:freeze", "--yes");
    const early = await regions.run("region", "promote", NEAR, "--force", "--yes");
    expect([early.code, early.stderr]).toEqual([3, expect.stringContaining("in the middle of a move from 2 to 3")]);
    await regions.ok("region", "cut", HOME);
    const promoted = await regions.run("region", "promote", NEAR, "--yes");
    expect([promoted.code, promoted.stderr]).toEqual([0, expect.stringContaining("in the middle of a move")]);
    await regions.ok("region", "heal", HOME);
    await follows();
    const { code, stderr } = await regions.run("migrate", "--resume", "--yes");
    expect([code, stderr]).toEqual([
      3,
      expect.stringContaining(`the primary is in ${NEAR}: a move works while it is in`),
    ]);
    await regions.ok("region", "promote", HOME, "--force", "--yes");
    await follows();
    await regions.ok("migrate", "--rollback", "--yes");
    expect(await stage()).toBe(2);
  });
});

describe.runIf(FULL)(`two regions and an arbiter${LONG}`, () => {
  const stack = uniqueStack();
  const regions = new RegionalStack(stack);
  const region = (...args: string[]) => regions.ok("region", ...args);

  beforeAll(() => regions.up(2, [HOME, NEAR]), 1_200_000);
  afterAll(() => removeStack(stack));

  it(
    "go on without the arbiter; without either other the primary's takes no writes",
    { timeout: 400_000 },
    async () => {
      const home = regions.writer(HOME, "alone");
      await home.more(20);
      await region("cut", "arbiter");
      await sleep(FENCED_MS);
      console.log(`without the arbiter: ${home.errors} errors, the longest wait ${longestGapMs(home)} ms`);
      expect(home.errors).toBe(0);
      await region("cut", NEAR);
      const cutAt = Date.now();
      await sleep(FENCED_MS + 10_000);
      const refused = await regions.run("region", "promote", NEAR, "--yes");
      expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining("does not hear a majority")]);
      expect(between(home, cutAt + FENCED_MS, Date.now())).toBe(0);
      console.log(`alone: the last write ${(home.acknowledged.at(-1)?.at ?? 0) - cutAt} ms after the cut`);
      await region("heal", "arbiter");
      const healedAt = Date.now();
      await home.more(20);
      console.log(
        `the arbiter is back: writes ${(home.acknowledged.find(({ at }) => at > healedAt)?.at ?? 0) - healedAt} ms later`,
      );
      await region("heal", NEAR);
      await eventually("to follow", () => regions.isFollowing(), 120_000);
      expect(await regions.missing(await home.stop(), NEAR)).toEqual([]);
    },
  );

  it("get a third region in the arbiter's place, and let it go again, in use", { timeout: 900_000 }, async () => {
    const home = regions.writer(HOME, "more regions");
    await home.more(20);
    const apply = async (...names: string[]): Promise<void> => {
      await setConfig(stack, { regions: JSON.stringify(names) });
      await regions.ok("config", "apply");
      await eventually(`${names.join(", ")} to follow`, () => regions.isFollowing(), 120_000);
      expect((await regions.list()).regions.map(({ name }) => name)).toEqual(names);
      const { verdict } = JSON.parse(await regions.ok("preview", "--json")) as { verdict: string };
      expect(verdict).toBe("none");
      await home.more(20);
    };
    const volumesOf = async (region: string) =>
      (await listLabelled("volume", stack)).filter(({ name }) => name.includes(`-${region}-`)).length;
    await apply(HOME, NEAR, FAR);
    expect(await volumesOf("arbiter")).toBe(0);
    await apply(HOME, NEAR);
    expect(await volumesOf(FAR)).toBe(0);
    await setConfig(stack, { regions: JSON.stringify([NEAR, HOME]) });
    const refused = await regions.run("config", "apply");
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining(`the stack began in ${HOME}`)]);
    await setConfig(stack, { regions: JSON.stringify([HOME, NEAR]) });
    console.log(`regions came and went: ${home.errors} errors, the longest wait ${longestGapMs(home)} ms`);
    expect(await regions.missing(await home.stop(), NEAR)).toEqual([]);
  });

  it("move the primary when its region is lost, and hand it back without loss", { timeout: 600_000 }, async () => {
    const [home, near] = [regions.writer(HOME, "lost"), regions.writer(NEAR, "lost")];
    await Promise.all([home.more(20), near.more(20)]);
    await region("cut", HOME);
    const cutAt = Date.now();
    const { seconds } = JSON.parse(await region("promote", NEAR, "--yes", "--json")) as { seconds: number };
    await near.more(20);
    await region("heal", HOME);
    await eventually("the old region to follow", () => regions.isFollowing(), 200_000);
    await home.more(20);
    const [lost, lostNear] = [await regions.missing(home, NEAR), await regions.missing(near, NEAR)];
    const { promotions } = await regions.list();
    console.log(
      `promoted in ${seconds.toFixed(1)} s; lost: ${lost.length} writes, ${promotions[0]?.lostBytes} bytes of WAL`,
    );
    expect(seconds).toBeLessThan(90);
    expect(lostNear.filter(({ at }) => at >= cutAt)).toEqual([]);
    if (lost.length > 0) expect(promotions[0]?.lostBytes).toBeGreaterThan(0);
    await Promise.all([home.stop(), near.stop()]);
    const writers = [regions.writer(HOME, "handed back"), regions.writer(NEAR, "handed back")];
    await Promise.all(writers.map((writer) => writer.more(20)));
    const back = JSON.parse(await region("promote", HOME, "--force", "--yes", "--json")) as {
      seconds: number;
      planned: boolean;
    };
    await Promise.all(writers.map((writer) => writer.more(20)));
    await Promise.all(writers.map((writer) => writer.stop()));
    console.log(`handed back in ${back.seconds.toFixed(1)} s`);
    expect(back.planned).toBe(true);
    expect(await Promise.all(writers.map((writer) => regions.missing(writer, HOME)))).toEqual([[], []]);
  });
});
