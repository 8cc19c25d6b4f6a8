import { DATABASE, ROLE_NAMES } from "../../components/roles.ts";
import { UserError } from "../../tuning/errors.ts";
import { currentPrimary } from "../lib/cluster.ts";
import { clusterView } from "../lib/clusters.ts";
import { printableUrl } from "../lib/connection.ts";
import { loginOf } from "../lib/login.ts";
import { run, runAttached } from "../lib/run.ts";
import { anyStackValues, openStack } from "../lib/stack.ts";

const SUPERUSER = "postgres";

/** `psql`: this machine's psql as one of the roles; as postgres, or where there is no psql, the server's own. */
export async function psql(
  args: readonly string[],
  flags: { stack: string; role: string; cluster?: string },
): Promise<number> {
  const role = ROLE_NAMES.find((name) => name === flags.role);
  if (!role && flags.role !== SUPERUSER) {
    throw new UserError(`there is no role ${flags.role}`, `use one of ${[...ROLE_NAMES, SUPERUSER].join(", ")}`);
  }
  const whole = await anyStackValues(await openStack(flags.stack));
  if (whole.target === "aws") return (await import("../aws/psql.ts")).psqlAws(whole, role, args);
  const { values } = clusterView(whole, flags);
  if (role && (await run("psql", ["--version"])).code === 0) {
    return runAttached("psql", [await printableUrl(flags.stack, values, role), ...args]);
  }
  const { container } = await currentPrimary(values);
  const terminal = process.stdin.isTTY && process.stdout.isTTY ? ["--interactive", "--tty"] : ["--interactive"];
  if (!role) {
    return runAttached("docker", [
      "exec",
      ...terminal,
      "--user",
      SUPERUSER,
      container,
      "psql",
      "-d",
      DATABASE,
      ...args,
    ]);
  }
  // The value comes from this process's environment, so that it stands in no command line.
  const { user, password } = loginOf(values, role);
  const url = `postgresql://${user}@localhost/${DATABASE}?sslmode=verify-full&sslrootcert=/run/cgraph-tls/ca.crt`;
  return runAttached("docker", ["exec", ...terminal, "--env", "PGPASSWORD", container, "psql", url, ...args], {
    ...process.env,
    PGPASSWORD: password,
  });
}
