import type { HardwareFacts } from "../../doctor/facts.ts";
import { exitCodeOf } from "../../doctor/finding.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import { UserError } from "../../tuning/errors.ts";
import { examine } from "../doctor/examine.ts";
import { renderMarkdown } from "../doctor/markdown.ts";
import { type Place, withDockerStack, withUrls } from "../doctor/place.ts";
import { renderTerminal } from "../doctor/terminal.ts";
import { clusterView, clusterViews } from "../lib/clusters.ts";
import { print, printJson, terminalWidth } from "../lib/print.ts";

export interface DoctorFlags {
  readonly stack: string;
  readonly url?: string;
  readonly replicaUrl: readonly string[];
  /** One of a sharded stack's; default: all. */
  readonly cluster?: string;
  readonly cpus?: string;
  readonly memory?: string;
  readonly json?: boolean;
  readonly markdown?: boolean;
}

function hardwareOf({ cpus, memory }: DoctorFlags): HardwareFacts | undefined {
  if (cpus === undefined && memory === undefined) return undefined;
  const [count, memoryMiB] = [Number(cpus), Number(memory)];
  if (!(count >= 0.25 && memoryMiB >= 256)) {
    throw new UserError(
      `--cpus ${cpus ?? "(missing)"} and --memory ${memory ?? "(missing)"} are no server`,
      "give both: CPUs from 0.25 and MiB from 256, such as --cpus 4 --memory 8192",
    );
  }
  return { cpus: count, memoryMiB };
}

/** Each place in turn: the clusters of a stack with shards, otherwise one. */
async function places<T>(flags: DoctorFlags, work: (place: Place) => Promise<T>): Promise<T[]> {
  if (flags.url !== undefined) return [await withUrls(flags.url, flags.replicaUrl, work)];
  if (flags.replicaUrl.length > 0) {
    throw new UserError("--replica-url without --url", "give --url of the primary; a stack's replicas are known");
  }
  const { openStack, anyStackValues } = await import("../lib/stack.ts");
  const values = await anyStackValues(await openStack(flags.stack));
  if (values.target === "aws") {
    return [await (await import("../doctor/awsPlace.ts")).withAwsStack(flags.stack, values, work)];
  }
  const views = flags.cluster === undefined ? clusterViews(values) : [clusterView(values, flags)];
  const found: T[] = [];
  for (const view of views) found.push(await withDockerStack(flags.stack, view, work));
  return found;
}

/** `doctor`: what ails a database, and the statements that mend it. Exit 1 with warnings, 2 where something is critical. */
export async function doctor(flags: DoctorFlags): Promise<0 | 1 | 2> {
  const hardware = hardwareOf(flags);
  const reports: DoctorReport[] = await places(flags, (where) => examine(where, { hardware }));
  if (flags.json) printJson(reports.length === 1 ? reports[0] : reports);
  else {
    const render = (report: DoctorReport): string =>
      flags.markdown ? renderMarkdown(report) : renderTerminal(report, terminalWidth());
    print(reports.map(render).join("\n\n"));
  }
  const codes = reports.map(({ counts }) => exitCodeOf(counts));
  return codes.includes(2) ? 2 : codes.includes(1) ? 1 : 0;
}
