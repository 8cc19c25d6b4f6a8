/** The steps of `migrate`, as they are carried out; migration/moves.ts says what each means. */
import { legsOf } from "../../migration/moves.ts";
import type { PlannedStep } from "../../migration/moveSteps.ts";
import { planTopology } from "../../stacks/topology.ts";
import { dockerHost } from "../../components/docker/engine.ts";
import { currentPrimary, isCluster, settle, superuserSql } from "../lib/cluster.ts";
import { restartAllPending, restartPending } from "../lib/heldRestart.ts";
import { backupNow, listBackups } from "../lib/pgbackrest.ts";
import { writeStackConfig } from "../lib/stackConfig.ts";
import { switchover } from "../lib/switchover.ts";
import { checkMove, verifyMove } from "./checks.ts";
import type { MoveContext } from "./context.ts";
import { awaitCopies } from "./copies.ts";
import { discard } from "./discard.ts";
import { activeJobs, freeze, thaw } from "./freeze.ts";
import type { Facts } from "./journal.ts";
import { partitionMessages } from "./partitions.ts";
import type { MoveStep, Progress } from "./runner.ts";
import { withRouterReady } from "./takeover.ts";
import { toCitusWorks } from "../toCitus/steps.ts";
import { toShardsWorks } from "../toShards/steps.ts";

/** A backup that is younger than this is fresh. */
const FRESH_MS = 3600_000;
const FIRST = "pg0";
/** The URNs of what makes up the first server. */
const FIRST_SERVER = "**cgraph:db:PrimaryDb$**";

type Work = Pick<MoveStep, "run" | "undo" | "mayUndo">;

const replicasAt = async (context: MoveContext, stage: number): Promise<number> =>
  planTopology(context.config(stage), await dockerHost()).nodes.length - 1;

/** The first server takes the writes, where another one has them. */
async function goHome(context: MoveContext): Promise<void> {
  const values = await context.values();
  if (!isCluster(values)) return;
  await settle(values);
  if ((await currentPrimary(values)).name !== FIRST) await switchover(values, FIRST);
  await settle(values);
}

async function takeBackup(context: MoveContext, progress: Progress): Promise<Facts> {
  const { backupContainer } = await context.values();
  const newest = (await listBackups(backupContainer)).at(-1);
  if (newest && Date.now() - Date.parse(newest.endedAt) < FRESH_MS) return { backup: newest.name };
  await backupNow(backupContainer, newest ? "diff" : "full", (text) => progress.detail(text));
  return { backup: (await listBackups(backupContainer)).at(-1)?.name ?? "" };
}

/** Slots that nobody reads any more would keep WAL until the disk is full. */
async function dropLeftSlots(context: MoveContext): Promise<void> {
  const values = await context.values();
  const members = isCluster(values) ? values.nodes.map(({ name }) => name) : [];
  for (const { container } of values.nodes) {
    await superuserSql(
      container,
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
       WHERE NOT active AND slot_type = 'physical' AND slot_name ~ '^pg[0-9]+$'
         AND NOT slot_name = ANY ('{${members.join(",")}}')`,
    );
  }
}

/** Back to a stage that was left: the first server has the writes, what was added goes, settings are the old ones. */
async function bringBack(context: MoveContext, stage: number): Promise<void> {
  await goHome(context);
  const { values, left } = await context.bringTo(stage);
  await settle(values);
  if (isCluster(values)) await restartPending(values);
  await dropLeftSlots(context);
  await discard(context, left);
}

/** The work of each step of one leg, by its name. `recall`: what another step of the leg remembers. */
function workOf(
  context: MoveContext,
  from: number,
  to: number,
  recall: (step: string) => Facts,
): Readonly<Record<string, Work>> {
  const strings = (value: unknown): string[] => (Array.isArray(value) ? (value as string[]) : []);
  const numbers = (value: unknown): number[] => (Array.isArray(value) ? (value as number[]) : []);
  const primary = async (): Promise<string> => (await currentPrimary(await context.values())).container;
  const leavingStep = to === 1 ? "alone" : "shrink";
  const leave: Work = {
    async run(progress, before) {
      const all = (left: readonly string[]): string[] => [...new Set([...strings(before["left"]), ...left])];
      const remember = (left: readonly string[]): void => progress.remember({ left: all(left) });
      const { values, changed } = await context.bringTo(to, { remember });
      await settle(values);
      return { changed };
    },
    async undo() {
      const { values } = await context.bringTo(from);
      await settle(values);
      if (isCluster(values)) await restartPending(values);
    },
  };
  return {
    check: {
      async run() {
        const more = (await replicasAt(context, to)) - (await replicasAt(context, from));
        const count = Math.max(0, more);
        return checkMove(await context.values(), { count, what: `${count} replicas` });
      },
    },
    backup: { run: (progress) => takeBackup(context, progress) },
    freeze: {
      async run(progress, before) {
        const container = await primary();
        const jobs = [...new Set([...numbers(before["jobs"]), ...(await activeJobs(container))])];
        // At once: a job that is stopped must be known, or nobody starts it again.
        progress.remember({ jobs });
        await freeze(container, jobs);
        return { jobs };
      },
      async undo(_, facts) {
        await thaw(await primary(), numbers(facts["jobs"]));
      },
    },
    prepare: {
      async run() {
        const { changed } = await context.bringTo(to, { phase: "prepare" });
        return { changed };
      },
      undo: () => bringBack(context, from),
    },
    takeover: {
      async run() {
        const before = await context.values();
        // By itself: clients wait, and need the machine that everything else of the stage would be busy with.
        const swapped = await withRouterReady(context.name, before, () => context.bringTo(to, { only: FIRST_SERVER }));
        const { values, changed } = await context.bringTo(to);
        await settle(values);
        return { changed: [...swapped.changed, ...changed] };
      },
      undo: () => bringBack(context, from),
    },
    extend: {
      async run() {
        const { values, changed } = await context.bringTo(to);
        await settle(values);
        return { changed };
      },
      undo: () => bringBack(context, from),
    },
    replicas: {
      async run(progress) {
        const values = await context.values();
        await awaitCopies(values, progress);
        return {};
      },
    },
    restart: {
      async run(progress) {
        const values = await context.values();
        if (values.regions) return { restarted: await restartAllPending(values) };
        const { restarted, heldMs } = await restartPending(values);
        progress.detail(restarted.length === 0 ? "nobody waits for one" : restarted.join(", "));
        return { restarted, heldMs };
      },
    },
    partitions: { run: (progress) => partitionMessages(context, progress) },
    home: {
      async run() {
        await goHome(context);
        return {};
      },
    },
    shrink: leave,
    alone: leave,
    verify: {
      async run() {
        await dropLeftSlots(context);
        await verifyMove(await context.values(), recall("check"));
        return {};
      },
    },
    discard: {
      async run(progress) {
        const left = strings(recall(leavingStep)["left"]);
        await discard(context, left);
        progress.detail(left.join(", "));
        return {};
      },
    },
    finish: {
      async run() {
        await thaw(await primary(), numbers(recall("freeze")["jobs"]));
        writeStackConfig(context.name, { stage: String(to) });
        return {};
      },
      async undo() {
        writeStackConfig(context.name, { stage: String(from) });
      },
    },
  };
}

/** Steps of a move as they are run. `facts`: what earlier runs remember of a step, by its id. */
export function executable(
  context: MoveContext,
  planned: readonly PlannedStep[],
  ends: { readonly from: number; readonly to: number },
  facts: (id: string) => Facts,
): MoveStep[] {
  const legs = legsOf(ends.from, ends.to);
  return legs.flatMap((to, index) => {
    const from = index === 0 ? ends.from : (legs[index - 1] ?? ends.from);
    const recall = (id: string): Facts => facts(`${to}:${id}`);
    const works = {
      ...workOf(context, from, to, recall),
      ...(to === 4 ? toShardsWorks(context, recall) : {}),
      ...(to === 5 ? toCitusWorks(context, from) : {}),
    };
    return planned
      .filter(({ id }) => id.startsWith(`${to}:`))
      .map(({ id, title, noReturn }): MoveStep => {
        const work = works[id.slice(id.indexOf(":") + 1)];
        if (!work) throw new Error(`no work for step ${id}`);
        return { id, title, ...(noReturn === null ? {} : { noReturn }), ...work, run: context.inReach(work.run) };
      });
  });
}
