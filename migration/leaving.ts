/** What a move to a smaller stage may leave behind: copies of what stays, and what only the larger stage needed. */
import { type Change, resourceName } from "./change.ts";
import { isDestroyed } from "./effect.ts";

/** The first server stays in every stage; the others' data are copies of its own. */
const COPIES = /^pg[1-9]\d*-data(-\d+)?$/;
/** Who led last; a server on its own needs nobody to say so. */
const CONSENSUS = /^etcd\d+-data$/;
/** A cache holds nothing that the database does not have, and its password opens nothing else. */
const CACHE = /^password-cache(-\d+)?$/;

export interface Leaving {
  /** Holds data or secrets, and may go. */
  readonly may: readonly Change[];
  /** Holds data or secrets, and must not. */
  readonly mustNot: readonly Change[];
}

/**
 * Sorts what a plan would delete of what holds data. A replacement is never right, since it would begin empty, unless
 * somebody has allowed it by name. `alsoMay`: names of resources that were looked at and hold nothing.
 */
export function leavingOf(changes: readonly Change[], alsoMay: (name: string) => boolean = () => false): Leaving {
  const may = changes.filter(
    ({ op, urn, allowed }) =>
      allowed === true ||
      (op === "delete" &&
        ([COPIES, CONSENSUS, CACHE].some((pattern) => pattern.test(resourceName(urn))) || alsoMay(resourceName(urn)))),
  );
  const mustNot = changes.filter((change) => change.stateful && isDestroyed(change) && !may.includes(change));
  return { may, mustNot };
}
