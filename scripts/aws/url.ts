/** Connection URLs of servers on AWS. */
import { DATABASE, type RoleName } from "../../components/roles.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { Endpoint } from "../../stacks/outputs.ts";
import { loginOf } from "../lib/login.ts";

/** What of the server is verified, and by which authorities. */
export interface Trust {
  readonly sslmode: string;
  readonly sslrootcert?: string;
}

/** The connection URL of a role at any of some hosts. */
export function url(
  values: AwsStackValues,
  role: RoleName,
  hosts: readonly Endpoint[],
  trust: Trust,
  more: { readonly database?: string; readonly parameters?: Readonly<Record<string, string>> } = {},
): string {
  const parameters = new URLSearchParams({ ...trust, ...more.parameters });
  const places = hosts.map(({ host, port }) => `${host}:${port}`).join(",");
  const query = parameters.toString().replaceAll("%2F", "/");
  const { user, password } = loginOf(values, role);
  return `postgresql://${user}:${password}@${places}/${more.database ?? DATABASE}?${query}`;
}
