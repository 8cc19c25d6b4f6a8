/** Clients that chat with a stack while something happens to it. */
import pg from "pg";
import { ChatLoad, type ChatOptions, type ChatReport, NO_DIFFERENCE } from "../../bench/chatLoad.ts";
import { environment } from "../../scripts/lib/connection.ts";
import { openStack, stackValues } from "../../scripts/lib/stack.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { expect } from "vitest";

export const currentValues = async (stack: string): Promise<StackValues> => stackValues(await openStack(stack));

export async function asOwner<T>(stack: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const { DATABASE_OWNER_URL } = await environment(stack, await currentValues(stack));
  const client = new pg.Client({ connectionString: DATABASE_OWNER_URL, application_name: "cgraph-db test" });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Empties what an earlier load has written, and seeds anew. */
export const reseed = (stack: string, oldMessages: number): Promise<unknown> =>
  asOwner(stack, async (client) => {
    await client.query("TRUNCATE messages, conversations, users CASCADE");
    await client.query(ChatLoad.seedSql(oldMessages));
  });

/**
 * Has clients write and read through DATABASE_URL (`direct`: through DATABASE_DIRECT_URL, which every stage has) while
 * `work` goes on, and a while after it; then compares what they were told with what the database has: nothing lost,
 * nothing twice.
 */
export async function chatDuring<T>(
  stack: string,
  options: ChatOptions & { readonly direct?: boolean },
  work: () => Promise<T>,
): Promise<{ result: T; report: ChatReport }> {
  const urls = await environment(stack, await currentValues(stack));
  const url = urls[options.direct ? "DATABASE_DIRECT_URL" : "DATABASE_URL"] ?? "";
  const load = new ChatLoad(url, options).start();
  expect(await load.progress(100, 30_000)).toBe(true);
  load.mark();
  let result: T;
  try {
    result = await work();
    expect(await load.progress(100, 60_000)).toBe(true);
  } finally {
    await load.stop();
  }
  const report = await load.stop();
  expect(await asOwner(stack, (client) => load.difference(client))).toEqual(NO_DIFFERENCE);
  return { result, report };
}
