import type { Client } from "pg";
import { OWNER } from "../../components/roles.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { environment } from "../lib/connection.ts";
import { loginOf } from "../lib/login.ts";
import { print, printJson } from "../lib/print.ts";
import { type Step, note, step } from "../lib/progress.ts";
import { applyParts, wholeSchema } from "../lib/schemaParts.ts";
import type { AnyStackValues } from "../lib/stack.ts";
import { checkedConfig } from "../lib/stackConfig.ts";

/** `schema show`: the SQL that `schema apply` runs. */
export function showSchema(): void {
  for (const { name, sql } of wholeSchema()) print(`-- schema/${name}\n${sql}`);
}

const APPLICATION = "cgraph-db schema";

/** Works with a client on the primary as the tables' owner. */
async function asOwner(stack: string, values: AnyStackValues, work: (client: Client) => Promise<void>): Promise<void> {
  if (values.target === "aws") {
    const { withPrimary } = await import("../aws/client.ts");
    return withPrimary(values, loginOf(values, OWNER), APPLICATION, work);
  }
  const { default: pg } = await import("pg");
  const { DATABASE_OWNER_URL } = await environment(stack, values);
  const client = new pg.Client({ connectionString: DATABASE_OWNER_URL, application_name: APPLICATION });
  // A connection that breaks is told by the statement that it breaks.
  client.on("error", () => undefined);
  try {
    await client.connect();
    await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function applyToShards(stack: string, values: AnyStackValues, progress: Step): Promise<string[]> {
  const { applyShardedSchema } = await import("../shards/apply.ts");
  if (values.target === "docker") {
    const { dockerPlaces } = await import("../shards/dockerPlaces.ts");
    return applyShardedSchema(dockerPlaces(stack, values), progress);
  }
  const { withShardPlaces } = await import("../aws/shardPlaces.ts");
  const { messages } = checkedConfig(stack);
  return withShardPlaces(values, messages, (places) => applyShardedSchema(places, progress));
}

/** `schema apply`: tables and indexes as the schema's files say; run again, it changes nothing. */
export async function applySchema(flags: { stack: string; json?: boolean }): Promise<void> {
  const { openStack, anyStackValues } = await import("../lib/stack.ts");
  const values = await anyStackValues(await openStack(flags.stack));
  let applied = wholeSchema().map(({ name }) => name);
  let local: readonly string[] = [];
  try {
    await step("schema", async (progress) => {
      if (values.stage === 4) {
        applied = await applyToShards(flags.stack, values, progress);
        return { value: undefined, done: `${values.sharding?.shards} shards, global and router database` };
      }
      if (values.stage === 5) {
        const { applyCitusSchema } = await import("../citus/apply.ts");
        const config = checkedConfig(flags.stack);
        await asOwner(flags.stack, values, async (client) => {
          ({ local } = await applyCitusSchema(client, config, progress));
        });
        return { value: undefined, done: `${applied.length} files applied, tables distributed` };
      }
      await asOwner(flags.stack, values, (client) =>
        applyParts(client, wholeSchema(), (name) => progress.detail(name)),
      );
      return { value: undefined, done: `${applied.length} files applied` };
    });
  } catch (error) {
    if (error instanceof UserError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new UserError(
      `the schema could not be applied: ${message}`,
      /lock timeout/.test(message)
        ? "a long transaction holds a table: end it (./cgraph-db psql, pg_stat_activity), then call this again"
        : "see ./cgraph-db status and ./cgraph-db logs, then call this again",
      EXIT.failed,
    );
  }
  if (local.length > 0) {
    note(`  note: on the coordinator alone, as nobody says how they are distributed: ${local.join(", ")}`);
  }
  if (flags.json) printJson({ stack: flags.stack, files: applied });
}
