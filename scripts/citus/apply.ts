/** `schema apply` at stage 5: CGraph's tables on the coordinator, messages by month, then distributed. */
import type { Client } from "pg";
import { distributeTables, localTables } from "../../citus/distribute.ts";
import { citusTables } from "../../citus/tables.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { applyParts, oneByOne, wholeSchema } from "../lib/schemaParts.ts";
import type { Step } from "../lib/progress.ts";
import { partitionEmpty } from "../shards/partition.ts";

/** What `schema apply` has found beside its own. */
export interface Applied {
  /** Tables that are on the coordinator alone. */
  readonly local: readonly string[];
}

/**
 * Brings the tables to what they should be; run again, it changes nothing. `client`: their owner, on the coordinator. `since`: the
 * first month of messages that are to come, default this one.
 */
export async function applyCitusSchema(
  client: Client,
  { messages, citus }: Pick<StackConfig, "messages" | "citus">,
  progress: Pick<Step, "detail">,
  since = new Date(),
): Promise<Applied> {
  const detail = (what: string): void => progress.detail(what);
  await applyParts(client, wholeSchema(), detail, oneByOne);
  await partitionEmpty(client, since, messages);
  const facts = await distributeTables(client, citus.shardCount, detail);
  return { local: localTables(citusTables(), facts) };
}
