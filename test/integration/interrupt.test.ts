import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { ROOT } from "../../scripts/lib/paths.ts";
import { listLabelled } from "../../scripts/lib/docker.ts";
import { run } from "../../scripts/lib/run.ts";
import { cgraph, cgraphOk, freePort, removeStack, uniqueStack } from "../support/cli.ts";
import { eventually } from "../support/eventually.ts";

const FULL = process.env["CGRAPH_TEST_FULL"] === "1";
/** Kills for the long drill, and one of each kind otherwise. */
const KILLS = FULL ? 20 : 2;
const stack = uniqueStack();

afterAll(() => removeStack(stack));

/** Starts a command and ends it with a signal after so many milliseconds; gives whether it was still running. */
function killAfter(args: readonly string[], ms: number, signal: NodeJS.Signals): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(join(ROOT, "cgraph-db"), args, { stdio: "ignore" });
    const timer = setTimeout(() => child.kill(signal), ms);
    child.on("exit", (_, by) => {
      clearTimeout(timer);
      resolve(by !== null);
    });
  });
}

const psql = (sql: string) => cgraph(["psql", "--stack", stack, "--role", "postgres", "--", "-XAtqc", sql]);

describe("a command that is killed", () => {
  it(
    "leaves a stack with which the next one goes on, its data kept",
    async () => {
      const port = String(await freePort());
      await cgraphOk("up", "--stack", stack, "--port", port, "--no-install");
      await psql("CREATE TABLE kept AS SELECT 1 AS n");
      let running = 0;
      // A command that had already ended when its moment came does not count.
      for (let i = 0; running < KILLS && i < 2 * KILLS; i++) {
        const [down, up] = [
          ["down", "--stack", stack],
          ["up", "--stack", stack, "--no-install"],
        ];
        // Every other time the stack is taken down first, so that `up` has all to do.
        const victim = i % 2 === 0 ? down : up;
        if (victim === up) await cgraphOk(...down);
        const moment = 500 + Math.random() * 4000;
        if (await killAfter(victim, moment, "SIGKILL")) running++;
        const next = await cgraph(up);
        expect(next.code, `after ${victim[0]} was killed at ${Math.round(moment)} ms:\n${next.stderr}`).toBe(0);
        expect((await psql("SELECT n FROM kept")).stdout.trim()).toBe("1");
        const preview = JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string };
        expect(preview.verdict).toBe("none");
      }
      expect(running).toBe(KILLS);
      const containers = await run("docker", [
        "ps",
        "--all",
        "--format",
        "{{.Names}} {{.State}}",
        "--filter",
        `label=cgraph.stack=${stack}`,
      ]);
      expect(containers.stdout.trim().split("\n").sort()).toEqual([
        `cgraph-${stack}-backup running`,
        `cgraph-${stack}-pg0 running`,
        `cgraph-${stack}-pg0-config-writer exited`,
      ]);
    },
    KILLS * 120_000 + 120_000,
  );

  it("with Ctrl-C ends in order: no lock, no pending operation", async () => {
    await cgraphOk("down", "--stack", stack);
    const child = spawn(join(ROOT, "cgraph-db"), ["up", "--stack", stack, "--no-install"], { stdio: "ignore" });
    const ended = new Promise<NodeJS.Signals | null>((resolve) => child.on("exit", (_, by) => resolve(by)));
    await eventually("the first container", async () => (await listLabelled("container", stack)).length > 0);
    child.kill("SIGINT");
    expect(await ended).toBe(null);
    const next = await cgraph(["up", "--stack", stack, "--no-install"]);
    expect(next.code, next.stderr).toBe(0);
    expect(next.stderr).not.toContain("interrupted command");
  });

  it("by nobody, but whose output nobody reads any more, goes on and ends", async () => {
    await cgraphOk("down", "--stack", stack);
    const child = spawn(join(ROOT, "cgraph-db"), ["up", "--stack", stack, "--no-install"], { stdio: "pipe" });
    child.stdout.destroy();
    child.stderr.destroy();
    const limit = setTimeout(() => child.kill("SIGKILL"), 180_000);
    expect(await new Promise((resolve) => child.on("exit", resolve))).toBe(0);
    clearTimeout(limit);
    expect((await psql("SELECT n FROM kept")).stdout.trim()).toBe("1");
  });
});
