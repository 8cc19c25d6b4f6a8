/** The three configurations that are compared, for the guide's stage 1 server. */
import type { Hardware } from "../tuning/hardware.ts";
import { tunePostgres } from "../tuning/postgresql.ts";
import { renderPostgresConf } from "../tuning/render.ts";
import { pgtuneOltp } from "./pgtune.ts";

/** Guide, Stage 1 › Server Specs. */
export const HARDWARE: Hardware = { cpus: 2, memoryMiB: 4096, diskGiB: 50, storage: { kind: "ssd" } };
const CONNECTIONS = 100;

export interface Config {
  readonly name: string;
  /** Lines of postgresql.conf on top of what initdb wrote. */
  readonly conf: string;
}

/**
 * What all three run with, because it is not about speed: the later moves' wal_level and the library that the guide
 * asks for (each would cost the other two something as soon as they offer the same), no archive (there is none here),
 * no TLS and no network (a Unix socket). Comes last, so it wins.
 */
const COMMON = `listen_addresses = ''
unix_socket_directories = '/run/postgresql'
wal_level = logical
shared_preload_libraries = 'pg_stat_statements'
archive_mode = off
ssl = off
`;

const lines = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name} = '${value}'\n`)
    .join("");

/**
 * stock, pgtune and ours. `variants` adds more for trying out: each is ours with some settings written over, such as
 * `{ nocompress: { wal_compression: "off" } }`.
 */
export function configs(variants: Readonly<Record<string, Readonly<Record<string, string>>>> = {}): Config[] {
  const ours = renderPostgresConf(
    tunePostgres({ hardware: HARDWARE, role: "primary", postgresMajor: 17, maxConnections: CONNECTIONS }),
  );
  return [
    { name: "stock", conf: COMMON },
    { name: "pgtune", conf: lines(pgtuneOltp({ ...HARDWARE, connections: CONNECTIONS })) + COMMON },
    { name: "ours", conf: ours + COMMON },
    ...Object.entries(variants).map(([name, settings]) => ({ name, conf: ours + COMMON + lines(settings) })),
  ];
}
