/** Messages by month, as a step of a move. */
import pg from "pg";
import { setMaintenance } from "../../migration/partitions/maintenance.ts";
import { convert } from "../../migration/partitions/run.ts";
import { MESSAGES } from "../../migration/partitions/sql.ts";
import { AUTOVACUUM_FACTORS } from "../../stacks/guide.ts";
import { environment } from "../lib/connection.ts";
import type { MoveContext } from "./context.ts";
import type { Facts } from "./journal.ts";
import type { Progress } from "./runner.ts";

/** Partitions messages where there are such, and they are not partitioned yet; goes on where an earlier try stopped. */
export async function partitionMessages(context: MoveContext, progress: Progress): Promise<Facts> {
  const { premakeMonths, retention } = context.config(3).messages;
  const { DATABASE_OWNER_URL } = await environment(context.name, await context.values());
  const client = new pg.Client({ connectionString: DATABASE_OWNER_URL, application_name: "cgraph-db migrate" });
  // A broken connection is reported by the query that was under way.
  client.on("error", () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<{ kind: string | null }>(
      "SELECT relkind AS kind FROM pg_class WHERE oid = to_regclass('public.messages')",
    );
    if (rows[0]?.kind !== "r") return { rows: 0 };
    const done = await convert(client, MESSAGES, { premakeMonths, onProgress: (text) => progress.detail(text) });
    await setMaintenance(client, MESSAGES, { premakeMonths, retention, ...AUTOVACUUM_FACTORS.value });
    return { rows: done.rows, swapMs: done.swapMs };
  } finally {
    await client.end().catch(() => undefined);
  }
}
