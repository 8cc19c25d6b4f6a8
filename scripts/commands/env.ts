import { UserError } from "../../tuning/errors.ts";
import { ectoConfig } from "../lib/ecto.ts";
import { environment } from "../lib/connection.ts";
import { print, printJson } from "../lib/print.ts";
import { type AnyStackValues, anyStackValues, openStack } from "../lib/stack.ts";

const FORMATS = ["dotenv", "json", "exs"] as const;

/** What a person should know of a URL, for the dotenv form. */
const COMMENTS: Readonly<Record<string, string>> = {
  DATABASE_DIRECT_URL: "the primary itself, without the pool: LISTEN, advisory locks, prepared transactions",
  DATABASE_REPLICA_URL: "reads, through the pool: replicas that keep up, the primary where none does",
  DATABASE_OWNER_URL: "schema changes",
};

async function anyEnvironment(name: string, stack: AnyStackValues): Promise<Record<string, string>> {
  if (stack.target === "docker") return environment(name, stack);
  const [{ environmentAws }, { authoritiesOf }] = await Promise.all([
    import("../aws/environment.ts"),
    import("../aws/authorities.ts"),
  ]);
  return environmentAws(stack, await authoritiesOf(stack));
}

/** `env`: connection URLs with their passwords, as dotenv, JSON, or Ecto's configuration. */
export async function env(flags: { stack: string; format: string; json?: boolean }): Promise<void> {
  const format = flags.json ? "json" : FORMATS.find((one) => one === flags.format);
  if (!format) throw new UserError(`there is no format ${flags.format}`, `use one of ${FORMATS.join(", ")}`);
  const stack = await anyStackValues(await openStack(flags.stack));
  const values = await anyEnvironment(flags.stack, stack);
  if (format === "json") printJson(values);
  else if (format === "exs") print(ectoConfig(flags.stack, values));
  else {
    const pooled = stack.endpoints.pool !== null;
    for (const [key, value] of Object.entries(values)) {
      const comment = COMMENTS[key];
      if (pooled && comment !== undefined) print(`# ${comment}`);
      print(`${key}="${value}"`);
    }
  }
}
