import { literal } from "../../components/sqlText.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type ServerProcess, processSql, whySystem } from "../inspect/session.ts";
import { clip } from "../inspect/sql.ts";
import { confirm } from "../lib/ask.ts";
import { currentPrimary, superuserSql } from "../lib/cluster.ts";
import { knownStackValues, valueOf, withDatabase } from "../lib/databaseClient.ts";
import { print, printJson, table } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { duration } from "../report/words.ts";

export interface TerminateFlags {
  readonly stack: string;
  readonly url?: string;
  readonly server?: string;
  readonly cancel?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

const APPLICATION = "cgraph-db terminate";
/** How long a cancelled statement may take to let go before its session is ended, and a session to end. */
const CANCEL_MS = 5_000;
const TERMINATE_MS = 10_000;

/** Asks a server for one text, as somebody who may end others' sessions. */
type Ask = (sql: string) => Promise<string>;

async function containerOf(values: StackValues, server: string | undefined): Promise<string> {
  if (server === undefined) return (await currentPrimary(values)).container;
  const node = values.nodes.find(({ name }) => name === server);
  if (node) return node.container;
  throw new UserError(
    `there is no server ${server}`,
    `use one of ${values.nodes.map(({ name }) => name).join(", ")}`,
    EXIT.refused,
  );
}

/** In Docker the superuser, who is only in the server's container; on AWS the administrator; else the URL's user. */
async function asking<T>(flags: TerminateFlags, work: (ask: Ask) => Promise<T>): Promise<T> {
  const values = flags.url === undefined ? await knownStackValues(flags.stack) : undefined;
  if (flags.server !== undefined && values?.target !== "docker") {
    throw new UserError("--server names a server of a stack in Docker", "give the server's own address with --url");
  }
  if (values?.target === "docker") {
    const container = await containerOf(values, flags.server);
    return work((sql) => superuserSql(container, sql));
  }
  if (values) {
    const { administratorOf, withPrimary } = await import("../aws/client.ts");
    const login = administratorOf(values);
    return withPrimary(values, login, APPLICATION, (client) => work((sql) => valueOf(client, sql)));
  }
  return withDatabase(
    { role: "cgraph_owner", ...(flags.url === undefined ? {} : { url: flags.url }) },
    APPLICATION,
    (client) => work((sql) => valueOf(client, sql)),
  );
}

const find = async (ask: Ask, pid: number): Promise<ServerProcess | undefined> =>
  (JSON.parse(await ask(processSql(pid))) as ServerProcess[])[0];

function describe(session: ServerProcess): string {
  const since = (seconds: number | null): string => (seconds === null ? "" : duration(seconds));
  return table([
    ["process", "what", "user", "database", "application", "client", "state", "for", "transaction", "waited for by"],
    [
      String(session.pid),
      session.kind,
      session.user ?? "",
      session.database ?? "",
      session.application ?? "",
      session.client ?? "",
      session.state ?? "",
      since(session.stateSeconds),
      since(session.transactionSeconds),
      String(session.blocks),
    ],
  ]).concat(session.query === "" ? "" : `\n  ${clip(session.query, 200)}`);
}

/** Only the process that was shown: a number may meanwhile be another's. */
const same = ({ pid, startedAt }: ServerProcess): string =>
  `FROM pg_stat_activity WHERE pid = ${pid} AND backend_start = ${literal(startedAt)}::timestamptz`;

/** Cancels its statement; gives whether it has let go of its transaction, and with it of its locks. */
async function cancel(ask: Ask, session: ServerProcess): Promise<boolean> {
  await ask(`SELECT coalesce(bool_or(pg_cancel_backend(pid)), false)::text AS value ${same(session)}`);
  for (const until = Date.now() + CANCEL_MS; Date.now() < until;) {
    const now = await find(ask, session.pid);
    if (now?.startedAt !== session.startedAt || (now.state !== "active" && now.transactionSeconds === null))
      return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

async function end(ask: Ask, session: ServerProcess): Promise<void> {
  const ended = await ask(
    `SELECT coalesce(bool_or(pg_terminate_backend(pid, ${TERMINATE_MS})), true)::text AS value ${same(session)}`,
  );
  if (ended === "true") return;
  throw new UserError(
    `process ${session.pid} has not ended within ${TERMINATE_MS / 1000} s`,
    "it ends as soon as it looks: one that waits for its disk or for a program of its own looks late",
    EXIT.failed,
  );
}

function checkPid(text: string): number {
  const pid = Number(text);
  if (Number.isInteger(pid) && pid > 0 && pid < 2 ** 31) return pid;
  throw new UserError(
    `"${text}" is not the number of a process`,
    "./cgraph-db inspect activity and inspect locks show it",
  );
}

function checkAllowed(session: ServerProcess, flags: TerminateFlags): void {
  const system = whySystem(session);
  if (system === undefined || flags.force) return;
  throw new UserError(
    `process ${session.pid} is no client's session; it works for ${system}`,
    "leave it, or add --force",
    EXIT.refused,
  );
}

/** `terminate`: ends one session, after having shown what it does. */
export async function terminate(text: string, flags: TerminateFlags): Promise<void> {
  const pid = checkPid(text);
  try {
    await asking(flags, async (ask) => {
      const session = await find(ask, pid);
      if (!session) {
        throw new UserError(
          `there is no process ${pid} on this server`,
          "./cgraph-db inspect activity shows the primary's; --server names another of a stack's servers",
          EXIT.failed,
        );
      }
      note(describe(session));
      checkAllowed(session, flags);
      await confirm("This ends it: what it has not committed is rolled back.", "yes", flags.yes === true);
      const cancelled = flags.cancel === true && (await cancel(ask, session));
      if (!cancelled) await end(ask, session);
      const action = cancelled ? "cancelled" : "terminated";
      if (flags.json) printJson({ action, ...session });
      else if (cancelled) print(`Process ${pid} was cancelled and has no transaction any more; its session goes on.`);
      else print(`Process ${pid} has ended.`);
    });
  } catch (error) {
    if ((error as { code?: string }).code !== "42501") throw error;
    throw new UserError(
      `the user may not end process ${pid}: ${(error as Error).message}`,
      "name a user that has pg_signal_backend in --url; a superuser's session only a superuser ends",
      EXIT.failed,
    );
  }
}
