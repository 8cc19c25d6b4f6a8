/** When something was last acknowledged, and how long nothing was. */
export class Pauses {
  readonly #start = Date.now();
  #last = Date.now();
  /** The longest time without any acknowledgement, milliseconds. */
  longestMs = 0;
  /** When it began, milliseconds since the start. */
  longestAtMs = 0;

  /** Gives whether the pause that ends here is the longest so far. */
  acknowledge(): boolean {
    const now = Date.now();
    const longest = now - this.#last > this.longestMs;
    if (longest) {
      this.longestMs = now - this.#last;
      this.longestAtMs = this.#last - this.#start;
    }
    this.#last = now;
    return longest;
  }

  /** Forgets what was: what comes now is measured. */
  mark(): void {
    this.longestMs = 0;
  }
}
