/** A time in which nothing was acknowledged. */
export interface Pause {
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly ms: number;
}

/** Shorter ones are what a busy machine does all the time. */
const NOTABLE_MS = 100;

/** When something was last acknowledged, and how long nothing was. */
export class Pauses {
  readonly #start = Date.now();
  #last = Date.now();
  #notable: Pause[] = [];
  /** The longest time without any acknowledgement, milliseconds. */
  longestMs = 0;
  /** When it began, milliseconds since the start. */
  longestAtMs = 0;

  /** Gives whether the pause that ends here is the longest so far. */
  acknowledge(): boolean {
    const now = Date.now();
    const ms = now - this.#last;
    const longest = ms > this.longestMs;
    if (longest) {
      this.longestMs = ms;
      this.longestAtMs = this.#last - this.#start;
    }
    if (ms >= NOTABLE_MS) this.#notable.push({ startedAt: this.#last, ms });
    this.#last = now;
    return longest;
  }

  /** Those of 100 ms and more, in the order in which they came. */
  get notable(): readonly Pause[] {
    return this.#notable;
  }

  /** Forgets what was: what comes now is measured. */
  mark(): void {
    this.longestMs = 0;
    this.#notable = [];
  }
}

/** Bounds of the classes in which pauses are counted, milliseconds. */
const CLASSES = [NOTABLE_MS, 200, 500, 1000, 2000] as const;

/** How many pauses there were of which length: `100 to 200 ms: 3, 500 to 1000 ms: 1`. */
export function distribution(pauses: readonly Pause[]): string {
  const counted = CLASSES.map((from, index) => {
    const to = CLASSES[index + 1];
    const count = pauses.filter(({ ms }) => ms >= from && (to === undefined || ms < to)).length;
    return { words: to === undefined ? `${from} ms and more` : `${from} to ${to} ms`, count };
  }).filter(({ count }) => count > 0);
  return counted.map(({ words, count }) => `${words}: ${count}`).join(", ") || `none of ${NOTABLE_MS} ms or more`;
}
