/** Scripts in containers that are under way before clients wait for them: getting into a container takes a tenth of a second. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";

export class InContainer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<void>;
  #stdout = "";

  /** Starts `bash -c SCRIPT` with arguments as $1, $2, …; without `user` as the container's own. */
  constructor(container: string, script: string, args: readonly string[] = [], user?: string) {
    const as = user === undefined ? [] : ["--user", user];
    const command = ["exec", "--interactive", ...as, container, "bash", "-c", script, "bash", ...args];
    // What nobody reads must not fill a pipe.
    this.#child = spawn("docker", command, { stdio: ["pipe", "pipe", "ignore"] });
    this.#child.stdout.setEncoding("utf8").on("data", (chunk: string) => (this.#stdout += chunk));
    // A container that is gone answers nothing.
    this.#child.stdin.on("error", () => undefined);
    this.#ended = new Promise((resolve) => this.#child.on("close", () => resolve()).on("error", () => resolve()));
  }

  /** Ends when the script has said a word; gives whether it did so before it ended. */
  async says(word: string): Promise<boolean> {
    const heard = (): boolean => this.#stdout.includes(word);
    if (heard()) return true;
    const said = new Promise<void>((resolve) => this.#child.stdout.on("data", () => heard() && resolve()));
    await Promise.race([said, this.#ended]);
    return heard();
  }

  /** Gives the script the line that it reads to go on. */
  go(): void {
    this.#child.stdin.end("go\n");
  }

  /** Ends the script's input without that line. */
  drop(): void {
    this.#child.stdin.end();
  }

  /** What it wrote on standard output, when it has ended. */
  async output(): Promise<string> {
    await this.#ended;
    return this.#stdout;
  }
}
