/** How clients reach a stack's database: URLs, the certificate authority's file, the password file. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RoleName } from "../../components/roles.ts";
import { DATABASE } from "../../components/roles.ts";
import type { NodeOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { docker } from "./docker.ts";
import { writeWhole } from "./files.ts";
import { stackFolder } from "./paths.ts";

export function primaryOf(values: StackValues): NodeOutput {
  const primary = values.nodes.find((node) => node.role === "primary");
  if (!primary) throw new UserError("the stack has no primary", "run ./cgraph-db up", EXIT.failed);
  return primary;
}

/** Writes a file, and leaves it alone where it already says so. */
function keepFile(path: string, content: string, mode: number): string {
  if (!existsSync(path) || readFileSync(path, "utf8") !== content) writeWhole(path, content, mode);
  return path;
}

/** The stack's certificate authority as a file for libpq's sslrootcert; fetched from the running primary. */
export async function certificateFile(stack: string, values: StackValues): Promise<string> {
  const path = join(stackFolder(stack), "ca.crt");
  const certificate = await docker(["exec", primaryOf(values).container, "cat", "/etc/cgraph/tls/ca.crt"]).catch(
    (error: unknown) => {
      // The one fetched before serves while the server is down.
      if (existsSync(path)) return readFileSync(path, "utf8");
      throw error;
    },
  );
  return keepFile(path, certificate, 0o644);
}

/** The connection URL of a role. Without a password where `passwordFile` names a file that has it (libpq's passfile). */
export function connectionUrl(
  values: StackValues,
  role: RoleName,
  files: { certificate: string; passwordFile?: string },
): string {
  const { host, port } = primaryOf(values);
  const user = files.passwordFile === undefined ? `${role}:${values.passwords[role]}` : role;
  const parameters = new URLSearchParams({ sslmode: "verify-full", sslrootcert: files.certificate });
  if (files.passwordFile !== undefined) parameters.set("passfile", files.passwordFile);
  // libpq reads %2F and / alike, people do not.
  return `postgresql://${user}@${host}:${port}/${DATABASE}?${parameters.toString().replaceAll("%2F", "/")}`;
}

/** The environment that applications get: the same keys in dotenv and in JSON. */
export async function environment(stack: string, values: StackValues): Promise<Record<string, string>> {
  const certificate = await certificateFile(stack, values);
  const url = (role: RoleName): string => connectionUrl(values, role, { certificate });
  return {
    DATABASE_URL: url("cgraph"),
    DATABASE_DIRECT_URL: url("cgraph"),
    DATABASE_READONLY_URL: url("cgraph_readonly"),
    DATABASE_OWNER_URL: url("cgraph_owner"),
    DATABASE_MONITOR_URL: url("cgraph_monitor"),
    PGSSLROOTCERT: certificate,
  };
}

/** URL for people: psql connects with it as it is, and it can be shown, since the password is in a file of its own. */
export async function printableUrl(stack: string, values: StackValues, role: RoleName = "cgraph"): Promise<string> {
  const { host, port } = primaryOf(values);
  const lines = Object.entries(values.passwords).map(([name, password]) => `${host}:${port}:*:${name}:${password}\n`);
  const passwordFile = keepFile(join(stackFolder(stack), "pgpass"), lines.join(""), 0o600);
  return connectionUrl(values, role, { certificate: await certificateFile(stack, values), passwordFile });
}
