import { spawn } from "node:child_process";

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  readonly timeoutMs?: number;
  /** Called with each line of standard output and error as it comes. */
  readonly onLine?: (line: string) => void;
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without a shell and collects what it prints; never throws for its exit code (-1: not found, killed). */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      timeout: options.timeoutMs,
    });
    let stdout = "";
    let stderr = "";
    let partial = "";
    const lines = (chunk: string): void => {
      if (!options.onLine) return;
      const parts = (partial + chunk).split("\n");
      partial = parts.pop() ?? "";
      parts.forEach(options.onLine);
    };
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      stdout += chunk;
      lines(chunk);
    });
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
      stderr += chunk;
      lines(chunk);
    });
    child.on("error", (error) => resolve({ code: -1, stdout, stderr: stderr + error.message }));
    child.on("close", (code) => resolve({ code: code ?? -1, stdout, stderr }));
    if (options.input !== undefined) {
      // A child that ends before it has read everything is reported by its exit code.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(options.input);
    }
  });
}

/** Runs a program with this terminal as its own and gives its exit code. */
export function runAttached(command: string, args: readonly string[], env = process.env): Promise<number> {
  return new Promise((resolve, reject) => {
    // Ctrl-C belongs to the child, which shares the terminal.
    const ignore = (): void => undefined;
    process.on("SIGINT", ignore);
    const child = spawn(command, args, { stdio: "inherit", env });
    child.on("error", reject);
    child.on("close", (code) => {
      process.off("SIGINT", ignore);
      resolve(code ?? 1);
    });
  });
}

/** `source | sink`, without a shell; gives whether both ended well. What they say on standard error is shown. */
export async function pipe(
  source: readonly [string, ...string[]],
  sink: readonly [string, ...string[]],
): Promise<boolean> {
  const from = spawn(source[0], source.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
  const to = spawn(sink[0], sink.slice(1), { stdio: [from.stdout, "ignore", "inherit"] });
  // Not "close": this process never reads the pipe, so it would not see it end.
  const ends = [from, to].map((child) => new Promise((resolve) => child.on("exit", resolve).on("error", resolve)));
  return (await Promise.all(ends)).every((code) => code === 0);
}
