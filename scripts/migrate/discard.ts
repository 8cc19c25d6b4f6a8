import { docker, listLabelled } from "../lib/docker.ts";
import type { MoveContext } from "./context.ts";

/** Deletes volumes that nothing of the stack uses any more. */
export async function discard(context: MoveContext, volumes: readonly string[]): Promise<void> {
  const there = new Set((await listLabelled("volume", context.name)).map(({ name }) => name));
  for (const volume of volumes) if (there.has(volume)) await docker(["volume", "rm", volume]);
}
