import { DATABASE, type RoleName } from "../../components/roles.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { loginOf } from "../lib/login.ts";
import { run, runAttached } from "../lib/run.ts";
import { administratorOf } from "./client.ts";
import { authoritiesOf } from "./authorities.ts";
import { withWay } from "./reach.ts";

/** This machine's psql on the primary, as a role, or (undefined) as the administrator. */
export async function psqlAws(
  values: AwsStackValues,
  role: RoleName | undefined,
  args: readonly string[],
): Promise<number> {
  if ((await run("psql", ["--version"])).code !== 0) {
    throw new UserError("psql is not installed on this machine", "install PostgreSQL's client", EXIT.failed);
  }
  const authorities = await authoritiesOf(values);
  const { user, password } = role === undefined ? administratorOf(values) : loginOf(values, role);
  return withWay(values, values.endpoints.write, ({ host, address, port }) => {
    // The name is verified, wherever the connection goes.
    const settings = {
      PGHOST: host,
      ...(address === host ? {} : { PGHOSTADDR: address }),
      PGPORT: String(port),
      PGUSER: user,
      PGPASSWORD: password,
      PGDATABASE: DATABASE,
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: authorities,
    };
    return runAttached("psql", args, { ...process.env, ...settings });
  });
}
