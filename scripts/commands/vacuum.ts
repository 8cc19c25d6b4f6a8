import type { Client } from "pg";
import { OWNER } from "../../components/roles.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type VacuumTarget, findTable, readFigures, readProgress, refuseSkipped } from "../inspect/vacuum.ts";
import { percent } from "../inspect/sql.ts";
import { type DatabasePlace, looking, valueOf, withDatabase } from "../lib/databaseClient.ts";
import { bytes, print, printJson, table } from "../lib/print.ts";
import { type Step, note, step } from "../lib/progress.ts";

export interface VacuumFlags {
  readonly stack: string;
  readonly url?: string;
  readonly json?: boolean;
}

const APPLICATION = "cgraph-db vacuum";
const LOOK_MS = 500;

/** As the one who logged in: another login of the owner's would not be shown, nor obeyed, to the role it takes on. */
const asLogin = <T>(client: Client, work: () => Promise<T>): Promise<T> =>
  looking(client, async () => {
    await client.query("SET LOCAL ROLE NONE");
    return work();
  });

/** Shows how far it is until it has ended; cancels it on the server when this command is interrupted. */
async function watch(
  place: DatabasePlace,
  target: VacuumTarget,
  pid: number,
  shown: Step,
  signal: AbortSignal,
): Promise<void> {
  const parts = Object.keys(target.parts).length;
  const seen = new Set<string>();
  await withDatabase(place, APPLICATION, async (client) => {
    const interrupt = (): void => {
      void asLogin(client, () => client.query("SELECT pg_cancel_backend($1)", [pid])).catch(() => undefined);
    };
    process.on("SIGINT", interrupt);
    process.on("SIGTERM", interrupt);
    try {
      while (!signal.aborted) {
        const progress = await asLogin(client, () => readProgress(client, target));
        if (progress) {
          seen.add(progress.part);
          const which = parts > 1 ? `${seen.size} of ${parts}, ` : "";
          shown.detail([`${which}${progress.part}: ${progress.phase}`, percent(progress.share)].join(" ").trim());
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    } finally {
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", interrupt);
    }
  });
}

interface Failure {
  readonly code?: string;
  readonly message: string;
}

function explain(error: unknown, { name }: VacuumTarget): unknown {
  const { code, message } = error as Failure;
  if (code === "57014") {
    return new UserError(
      `VACUUM of ${name} was cancelled`,
      "call it again: the tables that it has done stay done",
      EXIT.failed,
    );
  }
  if (code === "55P03") {
    return new UserError(
      `${name} is at work with another VACUUM, ANALYZE or schema change`,
      "./cgraph-db inspect locks and inspect activity say whose; call this again afterwards",
      EXIT.failed,
    );
  }
  if (code === "25006") {
    return new UserError(
      "the database is a replica, or read only",
      "vacuum its primary: a replica follows",
      EXIT.failed,
    );
  }
  return code === undefined || !/^[0-9A-Z]{5}$/.test(code)
    ? error
    : new UserError(message, "see the message", EXIT.failed);
}

/** Runs it, and gives what the server said of it. */
async function perform(client: Client, place: DatabasePlace, target: VacuumTarget, shown: Step): Promise<string[]> {
  const said: string[] = [];
  const warnings: string[] = [];
  client.on("notice", ({ severity, message = "" }) => (severity === "WARNING" ? warnings : said).push(message));
  const pid = await valueOf<number>(client, "SELECT pg_backend_pid() AS value");
  const abort = new AbortController();
  // That nobody watches must not keep it from being done.
  const watching = watch(place, target, pid, shown, abort.signal).catch(() => undefined);
  try {
    await client.query("SET statement_timeout = 0");
    await client.query("SET lock_timeout = '5s'");
    await client.query(`VACUUM (VERBOSE, ANALYZE) ${target.name}`);
  } catch (error) {
    throw explain(error, target);
  } finally {
    abort.abort();
    await watching;
  }
  refuseSkipped(warnings);
  return [...said, ...warnings];
}

/** `vacuum`: VACUUM (VERBOSE, ANALYZE) of a table, partitions included, with its progress. */
export async function vacuum(name: string, flags: VacuumFlags): Promise<void> {
  const place: DatabasePlace = {
    stack: flags.stack,
    role: OWNER,
    ...(flags.url === undefined ? {} : { url: flags.url }),
  };
  await withDatabase(place, APPLICATION, async (client) => {
    const target = await findTable(client, name);
    const partCount = Object.keys(target.parts).length;
    const before = await readFigures(client, target);
    const began = Date.now();
    const messages = await step(`VACUUM ${target.name}`, async (shown) => ({
      value: await perform(client, place, target, shown),
      done: partCount === 1 ? "done" : `${partCount} partitions done`,
    }));
    const seconds = (Date.now() - began) / 1000;
    const after = await readFigures(client, target);
    if (flags.json) {
      printJson({ table: target.name, parts: Object.values(target.parts).sort(), seconds, before, after, messages });
      return;
    }
    for (const message of messages) note(message);
    print(
      table([
        [target.name, "before", "after"],
        ["size, indexes included", bytes(before.bytes), bytes(after.bytes)],
        ["dead rows", String(before.deadRows), String(after.deadRows)],
        ["transactions since rows were frozen", String(before.frozenAge), String(after.frozenAge)],
      ]),
    );
  });
}
