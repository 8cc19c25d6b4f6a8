import type pgTypes from "pg";
import type { StackValues } from "../../stacks/outputs.ts";
import { AUTOVACUUM_FACTORS } from "../../stacks/guide.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { partitionStates, setMaintenance } from "../../migration/partitions/maintenance.ts";
import { convert, dropOld } from "../../migration/partitions/run.ts";
import { MESSAGES, oldName } from "../../migration/partitions/sql.ts";
import { confirm } from "../lib/ask.ts";
import { environment } from "../lib/connection.ts";
import { lockStack } from "../lib/lock.ts";
import { bytes, print, printJson, table } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { checkedConfig } from "../lib/stackConfig.ts";

export interface PartitionsFlags {
  readonly stack: string;
  readonly dropOld?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

async function connected<T>(
  flags: PartitionsFlags,
  work: (client: pgTypes.Client, values: StackValues) => Promise<T>,
): Promise<T> {
  const { default: pg } = await import("pg");
  const values = await stackValues(await openStack(flags.stack));
  const { DATABASE_OWNER_URL } = await environment(flags.stack, values);
  const client = new pg.Client({ connectionString: DATABASE_OWNER_URL, application_name: "cgraph-db partitions" });
  // A broken connection is reported by the query that was under way.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client, values);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** `partitions convert`: messages becomes partitioned by month, in use; goes on where an interrupted call stopped. */
export async function convertPartitions(flags: PartitionsFlags): Promise<void> {
  const lock = lockStack(flags.stack, "partitions convert");
  try {
    const { premakeMonths, retention } = checkedConfig(flags.stack).messages;
    await connected(flags, async (client, values) => {
      if (values.stage < 3) {
        throw new UserError(
          `stack ${flags.stack} is at stage ${values.stage}: messages are partitioned from stage 3 on`,
          `go there first: ./cgraph-db up --stack ${flags.stack} --stage 3`,
          EXIT.refused,
        );
      }
      if (values.stage > 3) {
        throw new UserError(
          `stack ${flags.stack} has shards: their messages are by month from the beginning`,
          "see ./cgraph-db partitions status",
          EXIT.refused,
        );
      }
      const done = await step("messages by month", async (progress) => {
        const value = await convert(client, MESSAGES, { premakeMonths, onProgress: (text) => progress.detail(text) });
        progress.detail("schedule");
        await setMaintenance(client, MESSAGES, { premakeMonths, retention, ...AUTOVACUUM_FACTORS.value });
        return { value, done: `${value.rows} rows, the swap took ${value.swapMs} ms` };
      });
      if (flags.dropOld === true) {
        await confirm(`This drops ${oldName(MESSAGES)}, the table from before.`, "yes", flags.yes === true);
        await dropOld(client, MESSAGES);
      }
      if (flags.json) printJson({ stack: flags.stack, table: MESSAGES.name, ...done });
      else if (flags.dropOld !== true)
        print(`The table from before is kept as ${oldName(MESSAGES)}; --drop-old drops it.`);
    });
  } finally {
    lock.release();
  }
}

/** `partitions status`: every month with its size. */
export async function partitionsStatus(flags: PartitionsFlags): Promise<void> {
  await connected(flags, async (client) => {
    const states = await partitionStates(client, MESSAGES);
    if (flags.json) printJson(states);
    else if (states.length === 0) print("messages is not partitioned: ./cgraph-db partitions convert");
    else {
      print(
        table([
          ["partition", "months", "size", "rows, about"],
          ...states.map((one) => [one.name, one.bounds, bytes(one.bytes), String(Math.round(one.rows))]),
        ]),
      );
    }
  });
}
