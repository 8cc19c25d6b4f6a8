/** Moving a stack from stage to stage while clients use it: how long their writes pause, and in which step. */
import type { PlannedStep } from "../migration/moveSteps.ts";
import type { JournalStep } from "../scripts/migrate/journal.ts";
import { environment } from "../scripts/lib/connection.ts";
import { openStack, stackValues } from "../scripts/lib/stack.ts";
import { cgraphOk } from "../test/support/cli.ts";
import { ChatLoad, type ChatReport, NO_DIFFERENCE } from "./chatLoad.ts";
import { type Pause, distribution } from "./pauses.ts";
import type { Report } from "./report.ts";
import { type BenchStack, asOwner, withStack } from "./stack.ts";

export interface MovesOptions {
  readonly runs: number;
  /** Messages that are there before the first move. */
  readonly messages: number;
  readonly onProgress: (text: string) => void;
}

const CLIENTS = 20;
/** What the clients ask for: a database that has room left, as one in use does, and a machine without any. */
const LOADS = [
  { name: "100 writes a second", perSecond: 100 },
  { name: "all they can", perSecond: undefined },
] as const;
type Load = (typeof LOADS)[number];
/** The moves, with the longest pause that is promised for each. */
const MOVES = [
  { from: 1, to: 2, limitMs: 2000 },
  { from: 2, to: 3, limitMs: 1000 },
] as const;

interface Outcome {
  readonly to: number;
  readonly load: Load["name"];
  readonly seconds: number;
  readonly foretoldMs: number;
  readonly longestPauseMs: number;
  /** How many pauses there were of which length. */
  readonly distribution: string;
  /** Every pause of 100 ms and more, and the step in which it began. */
  readonly pauses: readonly { readonly step: string; readonly ms: number }[];
  readonly clients: Omit<ChatReport, "pauses" | "longestPauseMs">;
}

/** The step of a move in which a pause began. */
function stepOf(pause: Pause, steps: readonly JournalStep[]): string {
  const began = steps.filter(({ startedAt }) => startedAt !== null && Date.parse(startedAt) <= pause.startedAt);
  return began.at(-1)?.id ?? "before";
}

async function once(stack: BenchStack, to: number, messages: number, asked: Load): Promise<Outcome> {
  const args = ["--stack", stack.name, "--stage", String(to), "--json"];
  const planned = (JSON.parse(await cgraphOk("migrate", ...args, "--dry-run")) as { steps: PlannedStep[] }).steps;
  const values = await stackValues(await openStack(stack.name));
  const { DATABASE_URL = "" } = await environment(stack.name, values);
  const { perSecond } = asked;
  const load = new ChatLoad(DATABASE_URL, {
    ...{ clients: CLIENTS, oldMessages: messages },
    ...(perSecond && { perSecond }),
  }).start();
  if (!(await load.progress(300, 60_000))) throw new Error("writes do not begin");
  load.mark();
  const began = performance.now();
  const { steps } = JSON.parse(await cgraphOk("migrate", ...args, "--yes")) as { steps: JournalStep[] };
  const seconds = (performance.now() - began) / 1000;
  if (!(await load.progress(100, 60_000))) throw new Error("writes do not go on");
  const report = await load.stop();
  const difference = await asOwner(stack, (owner) => load.difference(owner));
  if (JSON.stringify(difference) !== JSON.stringify(NO_DIFFERENCE)) {
    throw new Error(`writes are not as they were acknowledged: ${JSON.stringify(difference)}`);
  }
  const { pauses, longestPauseMs, ...clients } = report;
  return {
    ...{ to, load: asked.name, seconds, longestPauseMs, clients, distribution: distribution(pauses) },
    foretoldMs: Math.max(...planned.map(({ pause }) => pause?.seconds ?? 0)) * 1000,
    pauses: pauses.map((pause) => ({ step: stepOf(pause, steps), ms: pause.ms })),
  };
}

/** Each run makes a stage 1 for each load, fills it, and moves it to stage 2 and on to stage 3. */
export async function benchMoves({ runs, messages, onProgress }: MovesOptions): Promise<Report> {
  const outcomes: Outcome[] = [];
  for (let round = 1; round <= runs; round++) {
    for (const load of LOADS) {
      await withStack({ stage: 1 }, async (stack) => {
        await cgraphOk("schema", "apply", "--stack", stack.name);
        for (const { from, to } of MOVES) {
          // Each move begins with rows that nobody has changed or deleted yet.
          await asOwner(stack, (owner) => owner.query("TRUNCATE messages, conversations, users CASCADE"));
          await asOwner(stack, (owner) => owner.query(ChatLoad.seedSql(messages)));
          const outcome = await once(stack, to, messages, load);
          outcomes.push(outcome);
          onProgress(
            `round ${round}, ${load.name}, ${from} to ${to}: ${outcome.seconds.toFixed(0)} s, writes paused ` +
              `${outcome.longestPauseMs} ms at the longest (foretold ${outcome.foretoldMs} ms), ` +
              `${outcome.clients.errors} errors; pauses of ${outcome.distribution}`,
          );
        }
      });
    }
  }
  const values = (to: number, load: Load, figure: "longestPauseMs" | "foretoldMs"): number[] =>
    outcomes.filter((outcome) => outcome.to === to && outcome.load === load.name).map((outcome) => outcome[figure]);
  return {
    name: "moves",
    title: "Moving from stage to stage, in use",
    date: new Date().toISOString(),
    method: [
      `${CLIENTS} clients write, change, delete and read all the while: at stage 1 at the server, from stage 2 on through PgBouncer.`,
      "A pause is a time in which no write of any client is acknowledged; each is counted in the step in which it began (facts).",
      "After each move every acknowledged write is looked for: a run in which one is lost or doubled has no result.",
    ],
    panels: MOVES.map(({ from, to, limitMs }) => ({
      title: `${from} to ${to}: longest time without a write, milliseconds`,
      unit: "ms" as const,
      limit: limitMs,
      groups: LOADS.map((load) => ({
        title: `${messages} messages, ${CLIENTS} clients, ${load.name}`,
        series: [
          { name: "seen", values: values(to, load, "longestPauseMs") },
          { name: "foretold", values: values(to, load, "foretoldMs") },
        ],
      })),
    })),
    facts: { moves: outcomes },
  };
}
