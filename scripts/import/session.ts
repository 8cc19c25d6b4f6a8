/** How connections of an import behave, and what their failures mean. */
import { existsSync } from "node:fs";
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { Source } from "./source.ts";

/** Values as text must not depend on a server's or a role's own settings: checksums compare them. */
const SESSION: Readonly<Record<string, string>> = {
  statement_timeout: "0",
  lock_timeout: "10s",
  idle_in_transaction_session_timeout: "0",
  default_transaction_read_only: "off",
  search_path: "pg_catalog",
  client_encoding: "UTF8",
  timezone: "UTC",
  datestyle: "ISO",
  intervalstyle: "postgres",
  extra_float_digits: "3",
  bytea_output: "hex",
  xmlbinary: "base64",
  client_min_messages: "warning",
};
const options = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(" ");
/** pgcopydb's: it waits for its own locks as long as it takes. */
export const COPY_OPTIONS = options({
  statement_timeout: "0",
  lock_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  default_transaction_read_only: "off",
});

/** Of our own queries. */
export const QUERY_OPTIONS = options(SESSION);

export const lastLines = (text: string, count = 4): string => text.trim().split("\n").slice(-count).join("\n");

/** What TLS fails for, and what to do about it. */
const TLS_FAILURES: readonly (readonly [RegExp, string, string])[] = [
  [/valid client certificate/, "demands a client's certificate", "add sslcert=FILE and sslkey=FILE to the URL"],
  [/no encryption$/m, "demands TLS", "set sslmode to verify-full and sslrootcert to its authority's certificate"],
  [/does not support SSL/, "has no TLS", "set sslmode=prefer in the URL, where the network is to be trusted"],
  [
    /certificate verify failed/,
    "has a certificate of another authority than sslrootcert",
    "give the certificate of its own authority (on RDS: Amazon's global-bundle.pem)",
  ],
  [
    /server certificate for .* does not match/,
    "has a certificate of another name",
    "give the name that is on it as the host in --from, or sslmode=verify-ca",
  ],
];

/** What psql says of a source, in words that a person can act on. */
export function sourceError(source: Source, stderr: string): UserError {
  const words = lastLines(stderr.replace(/^psql: error: /gm, ""));
  const place = `${source.host}:${source.port}`;
  if (/password authentication failed|no password supplied/.test(words)) {
    return new UserError(
      `the source refuses ${source.user}: wrong or missing password`,
      "give the right one in --from or PGPASSWORD",
      EXIT.failed,
    );
  }
  // Where TLS was tried first, the last word is what failed without it.
  const tls = /SSL encryption/.test(words) ? undefined : TLS_FAILURES.find(([pattern]) => pattern.test(words));
  if (tls)
    return new UserError(`the source at ${place} ${tls[1]}: ${words.split("\n").at(0) ?? ""}`, tls[2], EXIT.failed);
  if (/could not translate host name|Connection refused|timeout expired|No route to host|unreachable/i.test(words)) {
    return new UserError(
      `the source at ${place} cannot be reached: ${words.split("\n").at(0) ?? ""}`,
      existsSync("/.dockerenv") || process.platform !== "linux"
        ? "from inside of Docker this machine is host.docker.internal: name it so, or start the source"
        : "check host, port and whether the server runs and listens there, then call this again",
      EXIT.failed,
    );
  }
  return new UserError(`the source at ${place}: ${words}`, "mend what it says, then call this again", EXIT.failed);
}
