/** Images that are not built by us: had by pulling them, or not at all. */
import { spawn } from "node:child_process";
import { run } from "../lib/run.ts";

/** How long the registry may take to name the image's layers, and the whole of a pull. */
export interface Patience {
  readonly answerMs: number;
  readonly totalMs: number;
}
export const isHere = async (image: string): Promise<boolean> =>
  (await run("docker", ["image", "inspect", "--format", "ok", image])).code === 0;

/**
 * Has the engine pull an image: by its own network, its own proxies and mirrors. Gives undefined, or why it could not.
 * The engine prints a first line once the registry has answered; where none comes, the pull is ended, and with it what
 * the engine was doing.
 */
export function pullImage(image: string, patience: Patience): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn("docker", ["pull", image], { stdio: ["ignore", "pipe", "pipe"] });
    let why = "";
    const giveUp = (text: string): void => {
      why = text;
      child.kill();
    };
    const silent = setTimeout(() => giveUp(`no answer within ${patience.answerMs / 1000} s`), patience.answerMs);
    const late = setTimeout(() => giveUp(`not there after ${patience.totalMs / 1000} s`), patience.totalMs);
    child.stdout.once("data", () => clearTimeout(silent)).resume();
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (why ||= chunk.trim().split("\n").at(-1) ?? ""));
    child.on("error", (error) => (why ||= error.message));
    child.on("close", (code) => {
      clearTimeout(silent);
      clearTimeout(late);
      resolve(code === 0 ? undefined : why || `docker pull ended with ${code}`);
    });
  });
}
