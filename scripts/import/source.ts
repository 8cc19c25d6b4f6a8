/** Where a database comes from: its URL, taken apart so that the password goes its own way. */
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { UserError } from "../../tuning/errors.ts";

/** Parameters of libpq that name a file of this machine. */
const FILE_PARAMETERS = ["sslrootcert", "sslcert", "sslkey"] as const;
/** Parameters that are kept; others are refused, so that none is silently passed over. */
const PARAMETERS = [
  "sslmode",
  "connect_timeout",
  "channel_binding",
  "application_name",
  ...FILE_PARAMETERS,
  "passfile",
];

export interface Source {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** libpq's parameters beside these, without files and password. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Paths on this machine, by libpq's parameter. */
  readonly files: Readonly<Record<string, string>>;
  /** Undefined where the server asks for none. */
  readonly password: string | undefined;
}

const PLACE = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE";

/** The password of a passfile's first line that fits; undefined where none does. */
export function passfilePassword(
  text: string,
  { host, port, database, user }: Pick<Source, "host" | "port" | "database" | "user">,
): string | undefined {
  const wanted = [host, String(port), database, user];
  for (const line of text.split("\n")) {
    if (line.startsWith("#") || line.trim() === "") continue;
    const fields = [...line.matchAll(/((?:\\.|[^:\\])*)(?::|$)/g)].map(([, field = ""]) =>
      field.replace(/\\(.)/g, "$1"),
    );
    if (wanted.every((value, index) => fields[index] === "*" || fields[index] === value)) return fields[4];
  }
  return undefined;
}

/** Takes the URL that an option gave apart. Throws a UserError (wrong use) where it is no URL of a PostgreSQL database. */
export function parseSource(
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
  option = "--from",
): Source {
  const wrong = (problem: string): UserError =>
    new UserError(`${option} ${problem}`, `give ${option} ${PLACE}, or leave the password to PGPASSWORD`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // The text may hold a password: it is not repeated.
    throw wrong("is not a URL");
  }
  if (!["postgresql:", "postgres:"].includes(url.protocol)) throw wrong(`begins with ${url.protocol}//`);
  const decode = (part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      throw wrong("has a % that encodes nothing: write %25 for it");
    }
  };
  const [host, user, database] = [
    url.hostname.replace(/^\[|\]$/g, ""),
    decode(url.username),
    decode(url.pathname.slice(1)),
  ];
  if (host === "") throw wrong("names no host");
  if (user === "") throw wrong("names no user");
  if (database === "" || database.includes("/")) throw wrong("names no database");
  const place = { host: decode(host), port: Number(url.port || "5432"), user, database };
  const parameters: Record<string, string> = {};
  const files: Record<string, string> = {};
  let fromFile: string | undefined;
  for (const [name, value] of url.searchParams) {
    if (!PARAMETERS.includes(name)) throw wrong(`has a parameter that is not known here: ${name}`);
    const isFile = (FILE_PARAMETERS as readonly string[]).includes(name) || name === "passfile";
    const isPath = isFile && !(name === "sslrootcert" && value === "system");
    if (isPath && !statSync(value, { throwIfNoEntry: false })?.isFile())
      throw wrong(`names a file for ${name} that does not exist: ${value}`);
    if (name === "passfile") fromFile = passfilePassword(readFileSync(value, "utf8"), place);
    else if (isPath) files[name] = resolve(value);
    else if (name !== "application_name") parameters[name] = value;
  }
  const inUrl = url.password === "" ? undefined : decode(url.password);
  return { ...place, parameters, files, password: inUrl ?? environment["PGPASSWORD"] ?? fromFile };
}

/** The URL without its password: for people, for the journal, for command lines. `fileAt` says where a file then is. */
export function publicUrl(
  source: Source,
  fileAt: (parameter: string, path: string) => string = (_, path) => path,
): string {
  const { user, host, port, database, parameters, files } = source;
  const query = new URLSearchParams({
    ...parameters,
    ...Object.fromEntries(Object.entries(files).map(([name, path]) => [name, fileAt(name, path)])),
  }).toString();
  const at = host.includes(":") ? `[${host}]` : host;
  const end = query === "" ? "" : `?${query.replaceAll("%2F", "/")}`;
  return `postgresql://${encodeURIComponent(user)}@${at}:${port}/${encodeURIComponent(database)}${end}`;
}

/** Refuses what libpq would look for in this machine's home folder: the import connects from elsewhere. Throws a UserError. */
export function refuseHalfTls({ parameters, files }: Pick<Source, "parameters" | "files">): void {
  const mode = parameters["sslmode"] ?? "";
  if (mode.startsWith("verify-") && files["sslrootcert"] === undefined && parameters["sslrootcert"] === undefined) {
    throw new UserError(
      `--from has sslmode=${mode} and nothing to verify with`,
      "add sslrootcert=FILE with the source's certificate authority, or sslrootcert=system for the public ones",
    );
  }
  if ((files["sslcert"] === undefined) !== (files["sslkey"] === undefined)) {
    throw new UserError("--from has one of sslcert and sslkey", "give both: a client's certificate and its key");
  }
}

/** A passfile that fits every place: its holder connects to one server only. Empty where there is no password. */
export const passfileText = ({ password }: Source): string =>
  password === undefined ? "" : `*:*:*:*:${password.replace(/[\\:]/g, "\\$&")}\n`;

/**
 * The source as libpq's key-value text for the target's server, which reaches it at a port of its own 127.0.0.1: the
 * name stays, so that the certificate is checked as it should be.
 */
export function relayedConninfo(source: Source, relay: { readonly port: number; readonly folder: string }): string {
  const quoted = (text: string): string => `'${text.replace(/[\\']/g, "\\$&")}'`;
  return Object.entries({
    host: source.host,
    hostaddr: "127.0.0.1",
    port: String(relay.port),
    user: source.user,
    dbname: source.database,
    passfile: `${relay.folder}/pgpass`,
    ...source.parameters,
    ...Object.fromEntries(Object.keys(source.files).map((name) => [name, `${relay.folder}/${name}`])),
  })
    .map(([key, value]) => `${key}=${quoted(value)}`)
    .join(" ");
}
