/** The server on which single statements are measured: one CPU, a client beside it, a pooler and a cache for their turn. */
import { command, cpuSeconds, docker, newestImage } from "./docker.ts";
import {
  CONVERSATIONS,
  SEED_SQL,
  SMALL_SQL,
  type Script,
  messagesSql,
  resetReadMarks,
  schemaSql,
} from "./capacityScripts.ts";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What a statement costs. */
export interface Cost {
  readonly cpuMs: number;
  /** 8 KiB pages that it looked at, in memory or not. */
  readonly pages: number;
  /** WAL without full-page images. */
  readonly recordBytes: number;
}

interface WalOfManager {
  readonly manager: string;
  readonly images: number;
  readonly imageBytes: number;
}

const CLIENTS = 4;
const DATABASE = "capacity";
/** As tuning/postgresql.ts gives every stage; memory for all the data. */
const SETTINGS = {
  wal_level: "logical",
  wal_compression: "lz4",
  checkpoint_timeout: "15min",
  max_wal_size: "16GB",
  shared_buffers: "3GB",
  max_connections: "50",
  unix_socket_directories: "/socket",
  listen_addresses: "",
} as const;

export class CapacityServer {
  readonly #name: string;
  readonly #volumes: readonly [string, string];
  #image = "";
  #rows = 0;

  constructor(name: string) {
    this.#name = name;
    this.#volumes = [`${name}-data`, `${name}-socket`];
  }

  get #client(): string {
    return `${this.#name}-client`;
  }

  async start(): Promise<void> {
    this.#image = await newestImage();
    const [data, socket] = this.#volumes;
    const volumes = ["--volume", `${data}:/data`, "--volume", `${socket}:/socket`, "--network", "none"];
    await docker([
      ...["run", "--rm", "--user", "0", ...volumes, "--entrypoint", "bash", this.#image, "-euc"],
      `chown postgres: /data /socket
       runuser -u postgres -- initdb -D /data/pg -U postgres --auth=trust --data-checksums --encoding=UTF8 \\
         --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C.UTF-8 > /dev/null`,
    ]);
    const run = ["run", "--detach", "--user", "postgres", ...volumes];
    const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    await docker([
      ...[...run, "--name", this.#name, "--cpus", "1", "--memory", "8g", "--shm-size", "1g"],
      ...["--entrypoint", "postgres", this.#image, "-D", "/data/pg", ...settings],
    ]);
    await docker([...run, "--init", "--name", this.#client, "--entrypoint", "sleep", this.#image, "infinity"]);
    await this.#ready();
    await this.sql(`CREATE DATABASE ${DATABASE}`, "postgres");
    await this.sql(`CREATE EXTENSION pg_walinspect; ${schemaSql()}`);
  }

  async #ready(): Promise<void> {
    for (const until = Date.now() + 120_000; ; await sleep(200)) {
      try {
        await docker(["exec", this.#client, "pg_isready", "--quiet", "-h", "/socket"]);
        return;
      } catch (error) {
        if (Date.now() > until) throw error;
      }
    }
  }

  async sql(text: string, database = DATABASE): Promise<string> {
    const args = ["exec", "--interactive", this.#client, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "/socket"];
    return (await docker([...args, "-U", "postgres", "-d", database], { input: text })).trim();
  }

  async #json<T>(text: string): Promise<T> {
    return JSON.parse(await this.sql(text)) as T;
  }

  checkpoint = (): Promise<string> => this.sql("CHECKPOINT");
  lsn = (): Promise<string> => this.sql("SELECT pg_current_wal_lsn()");

  /** Fills the tables; gives bytes a row with every index and TOAST, and those of each index. */
  async load(rows: number): Promise<Readonly<Record<string, number>>> {
    this.#rows = rows;
    await this.sql(SEED_SQL);
    const tenth = rows / 10;
    for (let part = 0; part < 10; part++) {
      await this.sql(messagesSql(part * tenth + 1, (part + 1) * tenth));
      await this.sql("UPDATE messages SET read_at = inserted_at + interval '1 minute' WHERE read_at IS NULL");
      await this.sql("VACUUM ANALYZE messages");
    }
    await this.sql(`INSERT INTO reactions (message_id, message_inserted_at, user_id, emoji)
      SELECT id, inserted_at, sender_id, '👍' FROM messages WHERE hashtext(id::text) % 5 = 0; VACUUM ANALYZE reactions`);
    const sizes = await this.#json<Record<string, number>>(`SELECT json_object_agg(name, value) FROM (
      SELECT t || 'RowBytes' AS name, round(pg_total_relation_size(t::regclass) / greatest(1, c.reltuples)) AS value
      FROM unnest('{messages,reactions,users,conversation_members}'::text[]) t JOIN pg_class c ON c.oid = t::regclass
      UNION ALL SELECT i.relname, round(pg_relation_size(i.oid) / greatest(1, c.reltuples)) FROM pg_index x
      JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid WHERE c.relname = 'messages'
      UNION ALL SELECT 'messagesContentBytes', round(avg(octet_length(content))) FROM messages) s`);
    await this.sql(SMALL_SQL);
    await resetReadMarks(this);
    return sizes;
  }

  async #pgbench(script: Script, args: readonly string[], host = "/socket", port = 5432): Promise<number> {
    const text = await docker(
      [
        ...[
          "exec",
          "--interactive",
          this.#client,
          "pgbench",
          "--no-vacuum",
          "-h",
          host,
          "-p",
          `${port}`,
          "-U",
          "postgres",
        ],
        ...[
          "--protocol=extended",
          `--client=${CLIENTS}`,
          "-D",
          `rows=${this.#rows}`,
          "-D",
          `i=${Date.now() % CONVERSATIONS}`,
        ],
        ...[...args, "--file", "-", DATABASE],
      ],
      { input: script.text },
    );
    const done = Number(/transactions actually processed: (\d+)/.exec(text)?.[1]);
    if (!(done > 0) || !/failed transactions: 0 /.test(text)) throw new Error(`pgbench: ${text}`);
    return done;
  }

  /** So many of it by each client; gives how many that were. */
  transactions = (script: Script, each: number): Promise<number> => this.#pgbench(script, [`--transactions=${each}`]);

  async walByManager(from: string): Promise<readonly WalOfManager[]> {
    return this
      .#json(`SELECT coalesce(json_agg(json_build_object('manager', m, 'images', images, 'imageBytes', bytes)), '[]')
      FROM (SELECT resource_manager AS m, count(*) AS images, sum(block_fpi_length) AS bytes
        FROM pg_get_wal_block_info('${from}', pg_current_wal_lsn()) WHERE block_fpi_length > 0 GROUP BY 1) s`);
  }

  async #pages(): Promise<number> {
    // Sessions report their counters when they end, at the latest.
    await sleep(500);
    return Number(await this.sql(`SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = '${DATABASE}'`));
  }

  async cost(script: Script, seconds: number): Promise<Cost> {
    const from = await this.lsn();
    const [pages, cpu] = [await this.#pages(), await cpuSeconds(this.#name)];
    const how = script.marks ? `--transactions=${CONVERSATIONS / CLIENTS}` : `--time=${seconds}`;
    const statements = await this.#pgbench(script, [how]);
    const used = (await cpuSeconds(this.#name)) - cpu;
    const looked = (await this.#pages()) - pages;
    const written = `SELECT sum(record_size) FROM pg_get_wal_stats('${from}', pg_current_wal_lsn(), false)`;
    const records = script.writes ? Number(await this.sql(written)) : 0;
    return { cpuMs: (used * 1000) / statements, pages: looked / statements, recordBytes: records / statements };
  }

  async #service(command: readonly string[]): Promise<string> {
    const images = await docker(["images", "--format", "{{.Repository}}:{{.Tag}}", "cgraph-services"]);
    const image = images.split("\n").find((line) => line.startsWith("cgraph-services:1-"));
    if (image === undefined) throw new Error("there is no image cgraph-services:1-…: start a stage 2 or 3 once");
    const name = `${this.#name}-service`;
    await docker([
      ...["run", "--detach", "--rm", "--name", name, "--network", "none", "--cpus", "1", "--user", "100"],
      ...["--volume", `${this.#volumes[1]}:/socket`, "--entrypoint", "sh", image, "-euc", ...command],
    ]);
    return name;
  }

  /** CPU milliseconds of PgBouncer for a statement, in transaction mode, without TLS. */
  async poolerCost(script: Script, seconds: number): Promise<number> {
    const ini = `[databases]\\n${DATABASE} = host=/socket user=postgres\\n[pgbouncer]\\nunix_socket_dir = /socket\\nlisten_port = 6432\\nlisten_addr =\\nauth_type = any\\nauth_file =\\npool_mode = transaction\\ndefault_pool_size = 10\\nlogfile =\\npidfile =\\n`;
    const name = await this.#service([`printf '${ini}' > /tmp/p.ini; exec pgbouncer -q /tmp/p.ini`]);
    await sleep(2000);
    const cpu = await cpuSeconds(name);
    const statements = await this.#pgbench(script, [`--time=${seconds}`], "/socket", 6432);
    const used = (await cpuSeconds(name)) - cpu;
    await docker(["rm", "--force", name]);
    return (used * 1000) / statements;
  }

  /** Memory of one entry of the cache, with a value of 300 bytes under a key with a uuid. */
  async cacheEntryBytes(): Promise<number> {
    const name = await this.#service(["cd /tmp; exec redis-server --save '' --enable-debug-command local --port 6379"]);
    await sleep(1500);
    const cli = (...args: string[]): Promise<string> => docker(["exec", name, "redis-cli", ...args]);
    const used = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await cli("info", "memory"))?.[1]);
    const before = await used();
    const entries = 200_000;
    await cli("debug", "populate", `${entries}`, "user:0b9c7d1e-0000-4000-8000-000000", "300");
    const after = await used();
    await docker(["rm", "--force", name]);
    return Math.round((after - before) / entries);
  }

  /** How fast one process replays WAL: the server is killed and starts again. Bytes of WAL, and seconds. */
  async replay(scripts: readonly Script[], seconds: number): Promise<{ bytes: number; seconds: number }> {
    await resetReadMarks(this);
    const from = await this.lsn();
    for (const script of scripts.filter(({ writes }) => writes)) await this.#pgbench(script, [`--time=${seconds}`]);
    const bytes = Number(await this.sql(`SELECT pg_current_wal_lsn() - '${from}'::pg_lsn`));
    await docker(["kill", this.#name]);
    await docker(["start", this.#name]);
    await this.#ready();
    const log = await this.#log();
    const took = Number(/redo done at .*elapsed: ([\d.]+) s/.exec(log)?.[1]);
    if (!(took > 0)) throw new Error(`the server's log says nothing of its recovery:\n${log.slice(-1500)}`);
    return { bytes, seconds: took };
  }

  /** PostgreSQL writes its log to standard error, which `docker logs` gives as its own. */
  async #log(): Promise<string> {
    return command("sh", ["-c", 'docker logs --tail 50 "$1" 2>&1', "sh", this.#name]);
  }

  async remove(): Promise<void> {
    await docker(["rm", "--force", "--volumes", this.#name, this.#client, `${this.#name}-service`]).catch(() => "");
    await docker(["volume", "rm", "--force", ...this.#volumes]).catch(() => "");
  }
}
