import { environment } from "../lib/connection.ts";
import { print, printJson } from "../lib/print.ts";
import { openStack, stackValues } from "../lib/stack.ts";

/** `env`: connection URLs with their passwords, as dotenv or JSON. */
export async function env(flags: { stack: string; json?: boolean }): Promise<void> {
  const values = await environment(flags.stack, await stackValues(await openStack(flags.stack)));
  if (flags.json) printJson(values);
  else
    print(
      Object.entries(values)
        .map(([key, value]) => `${key}="${value}"`)
        .join("\n"),
    );
}
