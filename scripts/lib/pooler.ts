/** PgBouncer's admin console, through the socket in its container. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { run } from "./run.ts";

/** How long running transactions are waited for before a pause is given up: clients wait meanwhile. */
const PAUSE_LIMIT_MS = 5_000;
/** How long a pause may last at all, whatever becomes of the command that made it. */
const GUARD_SECONDS = 30;

const containers = (values: StackValues): string[] =>
  values.services.filter(({ kind }) => kind === "pgbouncer").map(({ container }) => container);

const command = (container: string, statement: string): string[] => [
  ...["exec", "--user", "postgres", container],
  ...[
    "psql",
    "-XAtq",
    "--csv",
    "-h",
    "/run/pgbouncer",
    "-p",
    "6432",
    "-U",
    "pgbouncer",
    "-d",
    "pgbouncer",
    "-c",
    statement,
  ],
];

/** A console that stays open: clients wait for each command, and starting one takes a tenth of a second. */
class Console {
  readonly #child: ReturnType<typeof spawn>;
  #said = "";

  constructor(container: string) {
    const args = command(container, "").slice(0, -2);
    args.splice(1, 0, "--interactive");
    this.#child = spawn("docker", args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stdout?.on("data", (data: Buffer) => (this.#said += data.toString()));
    this.#child.stderr?.on("data", (data: Buffer) => (this.#said += data.toString()));
    // A console that has ended is noticed by its missing answer.
    this.#child.stdin?.on("error", () => undefined);
    this.#child.on("error", () => undefined);
  }

  /** Sends a command; gives what it answers, or undefined where no answer comes in time. */
  async send(statement: string, withinMs: number): Promise<string | undefined> {
    this.#said = "";
    this.#child.stdin?.write(`${statement};\n\\echo done\n`);
    const until = Date.now() + withinMs;
    while (!this.#said.includes("done") && Date.now() < until && this.#child.exitCode === null) await sleep(5);
    return this.#said.includes("done") ? this.#said.replace("done", "").trim() : undefined;
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The pools of a stack, held still and let go. */
export class PoolPause {
  readonly #poolers: readonly string[];
  #consoles: Console[] = [];
  #pausedAt = 0;
  /** Of this pause: a guard of an earlier one must not end it. */
  readonly #id = randomBytes(8).toString("hex");
  /** Milliseconds for which clients were held. */
  heldMs = 0;

  /** ` NAME` each, or once nothing for all. */
  readonly #which: readonly string[];

  /** `databases`: only these, as clients call them; default: all. */
  constructor(values: StackValues, databases?: readonly string[]) {
    this.#poolers = containers(values);
    this.#which = databases?.map((name) => ` ${name}`) ?? [""];
  }

  /**
   * Holds all clients between transactions; nobody is cut off. Throws a UserError (refused), and lets them go, where
   * transactions do not end in time. A pooler that does not run holds nobody.
   */
  async begin(): Promise<void> {
    await Promise.all(this.#poolers.map((container) => this.#guard(container)));
    const running = await Promise.all(
      this.#poolers.map(async (container) => {
        const console = new Console(container);
        const answer = await console.send("SHOW VERSION", 3000);
        if (answer !== undefined) return [console];
        console.end();
        return [];
      }),
    );
    this.#consoles = running.flat();
    this.#pausedAt = Date.now();
    const until = Date.now() + PAUSE_LIMIT_MS;
    const pause = async (console: Console): Promise<string | undefined> => {
      for (const which of this.#which) {
        const answer = await console.send(`PAUSE${which}`, until - Date.now());
        if (answer === undefined || answer.includes("ERROR")) return answer;
      }
      return "";
    };
    const answers = await Promise.all(this.#consoles.map(pause));
    const failed = answers.find((answer) => answer === undefined || answer.includes("ERROR"));
    if (answers.every((answer) => answer !== undefined && !answer.includes("ERROR"))) return;
    await this.end();
    throw new UserError(
      failed === undefined
        ? `transactions through the pool have been open for more than ${PAUSE_LIMIT_MS / 1000} seconds: clients were not made to wait longer, nothing was changed`
        : `a pool could not be paused: ${failed}`,
      "wait for them to end, or end them (./cgraph-db psql, pg_stat_activity), then call this again",
      EXIT.refused,
    );
  }

  /** Has the pooler itself let go, should this process end before it does: clients must not wait for ever. */
  async #guard(container: string): Promise<void> {
    const psql = "psql -XAtq -h /run/pgbouncer -p 6432 -U pgbouncer -d pgbouncer";
    const resume = this.#which.map((which) => `${psql} -c 'RESUME${which}'`).join("; ");
    const watch = `echo ${this.#id} >/tmp/cgraph-pause; sleep ${GUARD_SECONDS}; [ "$(cat /tmp/cgraph-pause)" != ${this.#id} ] || { ${resume}; }`;
    await run("docker", ["exec", "--detach", "--user", "postgres", container, "sh", "-c", watch]);
  }

  /** Has the poolers read their configuration anew while nobody uses it. Throws where one does not. */
  async reload(): Promise<void> {
    const answers = await Promise.all(this.#consoles.map((open) => open.send("RELOAD", 3000)));
    const failed = answers.find((answer) => answer === undefined || answer.includes("ERROR"));
    if (answers.every((answer) => answer !== undefined && !answer.includes("ERROR"))) return;
    throw new UserError(
      `a pooler did not read its configuration: ${failed ?? "no answer"}`,
      "see ./cgraph-db logs, then call this again",
      EXIT.failed,
    );
  }

  /** Lets clients go on. */
  async end(): Promise<void> {
    await Promise.all(
      this.#consoles.map(async (open) => {
        for (const which of this.#which) await open.send(`RESUME${which}`, 3000);
        open.end();
      }),
    );
    this.heldMs = Date.now() - this.#pausedAt;
    // A console that hangs in its PAUSE cannot take it back: another one can. A pool that goes on already says so.
    const again = this.#poolers.flatMap((container) =>
      this.#which.map((which) => command(container, `RESUME${which}`)),
    );
    await Promise.all(again.map((args) => run("docker", args)));
  }
}

/** One pool of one pooler, as SHOW POOLS tells it. */
export interface PoolState {
  readonly pooler: string;
  readonly database: string;
  readonly user: string;
  readonly clientsActive: number;
  readonly clientsWaiting: number;
  readonly serversActive: number;
  readonly serversIdle: number;
  /** Seconds that the first waiting client has waited. */
  readonly waitSeconds: number;
}

/** What a pooler's console shows, by column. A pooler that does not answer shows nothing. */
export async function consoleRows(container: string, statement: string): Promise<Partial<Record<string, string>>[]> {
  const args = command(container, statement).map((part) => (part === "-XAtq" ? "-XAq" : part));
  const [head = "", ...rows] = (await run("docker", args)).stdout.trim().split("\n");
  const columns = head.split(",");
  return rows.map((row) => Object.fromEntries(row.split(",").map((cell, index) => [columns[index] ?? "", cell])));
}

/** Has a pooler take new connections to servers in the place of those it has, each when its transaction is over. */
export const reconnectPool = async (container: string): Promise<void> => {
  await run("docker", command(container, "RECONNECT"));
};

/** Every pool in use. A pooler that does not answer has none. */
export async function poolStates(values: StackValues): Promise<PoolState[]> {
  const poolers = values.services.filter(({ kind }) => kind === "pgbouncer");
  const states = await Promise.all(
    poolers.map(async ({ name, container }) =>
      (await consoleRows(container, "SHOW POOLS")).map((row): PoolState => ({
        pooler: name,
        database: row["database"] ?? "",
        user: row["user"] ?? "",
        clientsActive: Number(row["cl_active"]),
        clientsWaiting: Number(row["cl_waiting"]),
        serversActive: Number(row["sv_active"]),
        serversIdle: Number(row["sv_idle"]),
        waitSeconds: Number(row["maxwait"]),
      })),
    ),
  );
  return states.flat().filter(({ database }) => database !== "pgbouncer" && database !== "");
}
