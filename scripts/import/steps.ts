/** The steps of an import, in order. */
import type { StackValues } from "../../stacks/outputs.ts";
import { OWNER } from "../../components/roles.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { docker, lastWords } from "../lib/docker.ts";
import { bytes } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import { type Facts, factsOf, openJournal } from "../migrate/journal.ts";
import type { MoveStep } from "../migrate/runner.ts";
import { type Verdict, assess } from "./assess.ts";
import { recheck, verify } from "./compare.ts";
import { type CopyPlace, copy, openTarget, undoCopy } from "./copy.ts";
import { freeze, thaw } from "./freeze.ts";
import { type SourceFacts, inspectSource, inspectTarget } from "./inspect.ts";
import { OWN_SQL } from "./own.ts";
import type { Source } from "./source.ts";
import { isKept, keepTarget } from "./snapshots.ts";
import {
  awaitStream,
  barrier,
  copiedSnapshot,
  endSnapshot,
  refuseChangedTables,
  subscribe,
  unpublish,
  unsubscribe,
} from "./stream.ts";
import { syncSequences } from "./structure.ts";
import { Tools } from "./tools.ts";

export interface ImportPlace {
  readonly stack: string;
  readonly source: Source;
  readonly values: StackValues;
  readonly follow: boolean;
}

/** More processes than that make a source's disk the limit, and its clients wait. */
const MOST_JOBS = 4;

/** Throws a UserError (refused) with all that stands against an import; says what else there is to know. */
export function refuseOrNote({ refusals, notes }: Verdict): void {
  const [first, ...others] = refusals;
  if (!first) {
    for (const text of notes) note(`  note: ${text}`);
    return;
  }
  const more = others.map(({ problem, remedy }) => `\n  also: ${problem}\n    ${remedy}`).join("");
  throw new UserError(first.problem, `${first.remedy}${more}`, EXIT.refused);
}

/** Bytes free where the server keeps its data. */
export async function freeBytes(server: string): Promise<number> {
  const out = await docker(["exec", server, "df", "--output=avail", "--block-size=1", "/var/lib/postgresql"]);
  return Number(out.trim().split("\n").at(-1));
}

/** Looks at both sides; gives what was found of the source. */
export async function check(
  tools: Tools,
  { stack, follow, server }: { readonly stack: string; readonly follow: boolean; readonly server: string | undefined },
): Promise<{ source: SourceFacts; verdict: Verdict }> {
  await tools.start();
  const source = await inspectSource(tools);
  const target = server === undefined ? undefined : await inspectTarget(tools, await freeBytes(server));
  return { source, verdict: assess(source, target, { stack, follow }) };
}

/** What is confirmed before clients of the source notice anything. */
export const cutoverQuestion = ({ source, follow, stack }: Omit<ImportPlace, "values">): string =>
  `${follow ? "The copy follows the source. " : ""}From here on database ${source.database} at ${source.host}:${source.port} is read only, and its clients' sessions are ended${
    follow ? " once" : "; it stays so while everything is copied"
  }. ${follow ? "As soon as it has the last change" : "When both sides have been compared"}, stack ${stack} takes the writes: there is no way back then. Until then --rollback makes the source writable again.`;

/** The step before which that is asked. */
export const confirmedStep = (follow: boolean): string => (follow ? "cutover" : "freeze");

export function importSteps(place: ImportPlace): { steps: MoveStep[]; tools: Tools } {
  const { stack, source, values, follow } = place;
  const [node] = values.nodes;
  if (!node) throw new Error("the stack has no server");
  const server = node.container;
  const tools = new Tools({ stack, source, server });
  const words = (): Promise<string> => lastWords(server);
  const jobs = Math.max(1, Math.min(MOST_JOBS, Math.ceil(node.cpus)));
  const copyPlace: CopyPlace = { tools, server, follow, jobs };
  const started =
    (run: MoveStep["run"]): MoveStep["run"] =>
    async (progress, before) => {
      await tools.start();
      return run(progress, before);
    };
  const undoing =
    (undo: NonNullable<MoveStep["undo"]>): NonNullable<MoveStep["undo"]> =>
    async (progress, facts) => {
      await tools.start();
      await undo(progress, facts);
    };

  const checkStep: MoveStep = {
    id: "check",
    title: "look at both sides",
    run: async () => {
      const found = await check(tools, { stack, follow, server });
      refuseOrNote(found.verdict);
      const { version, sizeBytes, tables } = found.source;
      return { version, sizeBytes, tables: tables.length };
    },
    undo: () => tools.remove(),
  };
  const freezeStep: MoveStep = follow
    ? { id: "freeze", title: "the source goes on", run: async () => ({}) }
    : {
        id: "freeze",
        title: "source read only",
        run: started(async (progress, before) => ({ ...(await freeze(tools, progress, before)), at: Date.now() })),
        undo: undoing((_, facts) => thaw(tools, facts)),
      };
  const copyStep: MoveStep = {
    id: "copy",
    title: "copy",
    run: started((progress, before) => copy(copyPlace, progress, before)),
    undo: undoing(() => undoCopy(copyPlace)),
  };
  const followSteps: MoveStep[] = [
    {
      id: "follow",
      title: "follow the source's changes",
      run: started(async (progress) => {
        await subscribe(tools);
        await awaitStream(tools, progress, words);
        return {};
      }),
      undo: undoing(async () => {
        await unsubscribe(tools);
      }),
    },
    {
      id: "cutover",
      title: "source read only, last changes",
      run: started(async (progress, before) => {
        await refuseChangedTables(tools);
        // Long transactions and a lag that has grown meanwhile are waited for while clients still write.
        await subscribe(tools);
        await awaitStream(tools, progress, words);
        const paused = typeof before["at"] === "number" ? before["at"] : Date.now();
        progress.remember({ at: paused });
        await freeze(tools, progress, before);
        const [, , sequences] = await Promise.all([
          barrier(tools).then((place) => awaitStream(tools, progress, words, place)),
          // A table could have been changed up to the very end.
          refuseChangedTables(tools),
          syncSequences(tools),
        ]);
        return { sequences, pausedMs: Date.now() - paused };
      }),
      undo: undoing((_, facts) => thaw(tools, facts)),
    },
  ];
  const ownStep: MoveStep = {
    id: "own",
    title: `everything becomes ${OWNER}'s`,
    run: started(async () => {
      await tools.onTarget(OWN_SQL);
      return {};
    }),
  };
  const verifyStep: MoveStep = {
    id: "verify",
    title: follow ? "compare the copy with its snapshot" : "compare source and stack",
    run: started(async (progress, before): Promise<Facts> => {
      if (before["tables"] === undefined) {
        const snapshot = follow ? await copiedSnapshot(tools) : undefined;
        if (follow && !snapshot) note("  note: the snapshot of the copy is gone: rows are compared at the end only");
        progress.remember({ ...(await verify(tools, progress, { follow, snapshot })) });
      }
      if (follow) await endSnapshot(tools);
      return {};
    }),
  };
  const finishStep: MoveStep = {
    id: "finish",
    title: "the stack takes the writes",
    noReturn: "the stack takes the writes",
    run: started(async (progress, before) => {
      if (before["at"] === undefined) {
        if (follow && before["snapshot"] === undefined) {
          await unsubscribe(tools);
          // Remembered before anybody is let in: a later one would show what clients have written.
          progress.remember({ snapshot: await keepTarget(tools) });
        }
        await openTarget(server);
        progress.remember({ at: Date.now() });
      }
      await unpublish(tools);
      if (!follow) await tools.remove();
      return {};
    }),
  };
  const recheckStep: MoveStep = {
    id: "recheck",
    title: "compare both as they were when the stack took over",
    run: started(async (progress, before): Promise<Facts> => {
      if (before["compared"] !== true) {
        const { snapshot } = factsOf(openJournal(stack), "finish");
        const kept = typeof snapshot === "string" && (await isKept((sql) => tools.onTarget(sql), snapshot));
        const compared = kept ? await recheck(tools, progress, snapshot) : { lost: true };
        progress.remember({ ...compared, compared: true });
      }
      await tools.remove();
      return {};
    }),
  };
  return {
    tools,
    steps: [
      ...[checkStep, freezeStep, copyStep, ownStep, verifyStep],
      ...(follow ? [...followSteps, finishStep, recheckStep] : [finishStep]),
    ],
  };
}

/** Of a dry run: what was found, for people. */
export const describeSource = ({ version, sizeBytes, tables }: SourceFacts): string =>
  `PostgreSQL ${Math.floor(version / 10_000)}.${version % 10_000}, ${tables.length} tables, ${bytes(sizeBytes)}`;
