/** Progress on standard error: one line a step, with the time it has taken; on a terminal the running line is alive. */

const seconds = (sinceMs: number): string => {
  const s = (Date.now() - sinceMs) / 1000;
  return s < 10
    ? `${s.toFixed(1)} s`
    : s < 120
      ? `${Math.round(s)} s`
      : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
};

export interface Step {
  /** Says what is going on inside the step. */
  detail(text: string): void;
}

/** Milliseconds between signs of life where there is no terminal. */
const HEARTBEAT_MS = 30_000;

/**
 * Runs one step and shows it: when it begins (after two seconds, or at once with `announce`), what it does, and when it
 * is done. `work` returns what to say at the end.
 */
export async function step<T>(
  title: string,
  work: (step: Step) => Promise<{ value: T; done: string }>,
  announce?: string,
): Promise<T> {
  const start = Date.now();
  const alive = process.stderr.isTTY;
  let detail = announce ?? "";
  let announced = false;
  const line = (): string => `- ${title}${detail ? `: ${detail}` : ""}`;
  const say = (): void => {
    announced = true;
    process.stderr.write(`${line()}\n`);
  };
  if (announce && !alive) say();
  const timer = alive
    ? setInterval(() => {
        const text = `${line()} (${seconds(start)})`.slice(0, (process.stderr.columns || 80) - 1);
        process.stderr.write(`\r\x1b[K${text}`);
      }, 200)
    : setInterval(() => {
        if (!announced) say();
        else if ((Date.now() - start) % HEARTBEAT_MS < 2000) process.stderr.write(`  … ${title} (${seconds(start)})\n`);
      }, 2000);
  const end = (mark: string, text: string): void => {
    clearInterval(timer);
    process.stderr.write(`${alive ? "\r\x1b[K" : ""}${mark} ${title}: ${text} (${seconds(start)})\n`);
  };
  try {
    const { value, done } = await work({
      detail(text) {
        if (text === detail) return;
        detail = text;
        if (!alive && announced) say();
      },
    });
    end("✓", done);
    return value;
  } catch (error) {
    end("✗", "failed");
    throw error;
  }
}

/** A line for the person, on standard error. */
export const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
