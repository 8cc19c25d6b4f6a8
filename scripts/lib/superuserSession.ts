/** A session of the superuser in a server's container that stays open: while clients wait, starting one takes too long. */
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT, UserError } from "../../tuning/errors.ts";

const WITHIN_MS = 5000;

export class SuperuserSession {
  readonly #child: ReturnType<typeof spawn>;
  readonly #container: string;
  #said = "";
  #asked = 0;

  constructor(container: string, database: string) {
    this.#container = container;
    const psql = ["psql", "-XAtq", "-d", database];
    this.#child = spawn("docker", ["exec", "--interactive", "--user", "postgres", container, ...psql], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child.stdout?.on("data", (data: Buffer) => (this.#said += data.toString()));
    this.#child.stderr?.on("data", (data: Buffer) => (this.#said += data.toString()));
    // A session that has ended is noticed by its missing answer.
    this.#child.stdin?.on("error", () => undefined);
    this.#child.on("error", () => undefined);
  }

  /** Runs statements; gives what they print. Throws a UserError where one fails, or nothing is heard in time. */
  async ask(sql: string, withinMs = WITHIN_MS): Promise<string> {
    this.#said = "";
    const end = `cgraph-answered-${++this.#asked}`;
    this.#child.stdin?.write(`${sql}\n;\n\\echo ${end}\n`);
    const until = Date.now() + withinMs;
    while (!this.#said.includes(end) && Date.now() < until && this.#child.exitCode === null) await sleep(2);
    const answered = this.#said.includes(end);
    const said = this.#said.replace(end, "").trim();
    if (answered && !/^(psql:.*)?(ERROR|FATAL):/m.test(said)) return said;
    throw new UserError(
      `${this.#container}: ${said === "" ? "no answer" : said}`,
      "see ./cgraph-db status, then call this again",
      EXIT.failed,
    );
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }
}
