/** Words for what a change means for data and for clients. */
import type { Change } from "./change.ts";

/** What happens to the resource. */
export type Happening = "create" | "change" | "reload" | "restart" | "replace" | "delete";

/** What clients notice, from the least to the most. */
export const CLIENTS = ["nothing", "reconnect", "reads pause", "writes pause"] as const;
export type Clients = (typeof CLIENTS)[number];

export interface Effect {
  readonly happens: Happening;
  readonly clients: Clients;
  /** Why, and when where that is not at once; empty where the rest says it all. */
  readonly why: string;
}

export const isDestroyed = ({ op }: Pick<Change, "op">): boolean => op === "delete" || op === "replace";

/** What the operation alone says. */
export function plain({ op }: Pick<Change, "op">): Effect {
  const happens = op === "create" || op === "delete" || op === "replace" ? op : "change";
  return { happens, clients: "nothing", why: "" };
}
