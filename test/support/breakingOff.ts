/** Commands that end in the middle, as a killed one does: at a question to a server. */
import type pg from "pg";

export class BrokenOff extends Error {}

export interface Breaking {
  /** A client whose questions are counted; the one at which the command ends is asked or not, and no other after it. */
  readonly faulty: (client: pg.Client) => pg.Client;
  /** Whether it has come to that. */
  readonly broke: () => boolean;
}

/** Ends at the nth question to any server: before it is asked, or when it was carried out. */
export function breakingAt(nth: number, after: boolean): Breaking {
  let asked = 0;
  return {
    broke: () => asked >= nth,
    faulty: (client) =>
      new Proxy(client, {
        get(target, key) {
          const value: unknown = Reflect.get(target, key);
          if (key !== "query") return typeof value === "function" ? (value.bind(target) as unknown) : value;
          return async (...args: unknown[]): Promise<unknown> => {
            asked++;
            // What a killed command would still have asked it does not ask.
            if (asked > nth || (asked === nth && !after)) throw new BrokenOff(`at question ${nth}`);
            const answer: unknown = await (value as (...given: unknown[]) => Promise<unknown>).apply(target, args);
            if (asked === nth) throw new BrokenOff(`after question ${nth}`);
            return answer;
          };
        },
      }),
  };
}
