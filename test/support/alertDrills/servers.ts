/** Drills of the alerts about PostgreSQL servers; the first, pg0, is the primary. */
import type pg from "pg";
import { eventually } from "../eventually.ts";
import { Repeated, TIME, closeAll, type Drill, type Drilled } from "./drill.ts";

/** Of `max_connections`, three are for superusers alone; the limit is the stack's. */
function connections(on: Drilled, limit: number): Drill {
  const held: pg.Client[] = [];
  const until = (percent: number) => async () => {
    const wanted = Math.ceil((limit * percent) / 100);
    const count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    while (Number(await on.superuser(count)) - 1 < wanted) held.push(await on.connect());
  };
  return {
    alerts: ["connection_utilization"],
    labels: { server: "pg0" },
    quick: "warning",
    causes: { warning: until(77), critical: until(93) },
    end: () => closeAll(held),
  };
}

/** A table that fits into shared buffers (32 MB), and one that does not: blocks of it are read in turn. */
function cacheHits(on: Drilled): Drill {
  const loads: Repeated[] = [];
  const [smallBlocks, largeBlocks, slice] = [500, 8000, 100];
  const read = (round: number): string => {
    const first = (round * slice) % largeBlocks;
    return `SELECT count(*) FROM large WHERE ctid >= '(${first},0)' AND ctid < '(${first + slice},0)'`;
  };
  const start = async (statement: (round: number) => string): Promise<void> => {
    const load = new Repeated();
    loads.push(load);
    await load.start(on, 1, statement, { key: "DATABASE_OWNER_URL" });
  };
  const table = (name: string, blocks: number): string =>
    `CREATE UNLOGGED TABLE ${name} AS SELECT i, repeat('x', 500) AS t FROM generate_series(1, ${blocks * 15}) i; GRANT SELECT ON ${name} TO PUBLIC;`;
  return {
    alerts: ["cache_hit_ratio"],
    labels: { server: "pg0" },
    before: () => on.superuser(`${table("small", smallBlocks)} ${table("large", largeBlocks)}`),
    causes: {
      // 100 blocks that are read beside 4,000 that are there: 97.6 percent.
      warning: () =>
        start(
          (round) =>
            `SELECT count(n) FROM generate_series(1, 8) s, LATERAL (SELECT count(*) AS n FROM small WHERE s > 0) t UNION ALL ${read(round)}`,
        ),
      critical: () => start(read),
    },
    end: async () => {
      await Promise.all(loads.map((load) => load.stop()));
      await on.superuser("DROP TABLE small, large");
    },
  };
}

function slowStatements(on: Drilled): Drill {
  const load = new Repeated();
  // The sampler sees those that are followed by a pause.
  const sleeping = (seconds: number) => () => load.start(on, 2, () => `SELECT pg_sleep(${seconds})`, { pauseMs: 600 });
  return {
    alerts: ["query_duration_p99"],
    labels: { server: "pg0" },
    causes: { warning: sleeping(0.7), critical: sleeping(2.5) },
    end: () => load.stop(),
  };
}

function deadTuples(on: Drilled): Drill {
  const dead = async (): Promise<number> =>
    Number(await on.superuser("SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables"));
  // A replica says every ten seconds (wal_receiver_status_interval) what it may still read: until it has said so again,
  // VACUUM removes nothing that was deleted since.
  const vacuum = (): Promise<unknown> =>
    eventually("the dead tuples are removed", async () => {
      await on.superuser("VACUUM");
      return (await dead()) < 500;
    });
  const remove = (rows: number) => () =>
    on.superuser(`INSERT INTO bloated SELECT generate_series(1, ${rows}); DELETE FROM bloated`);
  return {
    alerts: ["dead_tuples"],
    labels: { server: "pg0" },
    quick: "critical",
    before: async () => {
      await on.superuser("CREATE TABLE bloated (i int) WITH (autovacuum_enabled = off)");
      await vacuum();
    },
    causes: { warning: remove(2000), critical: remove(9000) },
    end: async () => {
      await vacuum();
      await on.superuser("DROP TABLE bloated");
    },
  };
}

function transactions(on: Drilled): Drill {
  const held: pg.Client[] = [];
  return {
    alerts: ["long_transaction", "idle_in_transaction"],
    labels: { server: "pg0" },
    quick: "warning",
    causes: {
      warning: async () => {
        const client = await on.connect();
        held.push(client);
        await client.query("BEGIN");
      },
      critical: TIME,
    },
    end: () => closeAll(held),
  };
}

/** Each pair of clients locks a row, and then the other's. */
function deadlocks(on: Drilled): Drill {
  const bring = (pairs: number) => async () => {
    const clients = await on.connectAll(2 * pairs);
    try {
      const lock = (client: pg.Client, row: number) => client.query(`SELECT * FROM pairs WHERE i = ${row} FOR UPDATE`);
      await Promise.all(clients.map((client) => client.query("BEGIN")));
      await Promise.all(clients.map(lock));
      const ended = await Promise.allSettled(clients.map((client, row) => lock(client, row ^ 1)));
      const deadlocked = ended.filter(({ status }) => status === "rejected").length;
      if (deadlocked !== pairs) throw new Error(`${deadlocked} of ${pairs} pairs were in a deadlock`);
    } finally {
      await closeAll(clients);
    }
  };
  return {
    alerts: ["deadlocks"],
    labels: { server: "pg0" },
    quick: "warning",
    before: () =>
      on.superuser(
        "CREATE TABLE IF NOT EXISTS pairs (i int PRIMARY KEY); INSERT INTO pairs SELECT generate_series(0, 99); GRANT ALL ON pairs TO cgraph",
      ),
    causes: { warning: bring(1), critical: bring(15) },
    end: () => on.superuser("DROP TABLE pairs"),
  };
}

function checkpoints(on: Drilled): Drill {
  const request = (count: number) => async () => {
    for (let n = 0; n < count; n++) await on.superuser("CHECKPOINT");
  };
  return {
    alerts: ["checkpoints_requested"],
    labels: { server: "pg0" },
    // Over an hour's 240 looks: a backup's checkpoint counts as long.
    causes: { warning: request(1), critical: request(5) },
    end: TIME,
    resolvesWithinMs: 400_000,
  };
}

function transactionIds(on: Drilled): Drill {
  const burn = (count: number) => () => on.superuser(`CALL burn(${count})`);
  const allow = (value: boolean): Promise<string> =>
    on.superuser(`ALTER DATABASE template0 ALLOW_CONNECTIONS ${value}`, "pg0", "postgres");
  const freeze = async (): Promise<void> => {
    await allow(true);
    // What replicas may still read is not frozen either.
    await eventually("everything is frozen", async () => {
      for (const database of ["template0", "template1", "postgres", "cgraph_production"]) {
        await on.superuser("VACUUM FREEZE", "pg0", database);
      }
      return Number(await on.superuser("SELECT max(age(datfrozenxid)) FROM pg_database")) < 1000;
    });
    await allow(false);
  };
  return {
    alerts: ["transaction_id_age"],
    labels: { server: "pg0" },
    before: async () => {
      await on.superuser(
        "CREATE PROCEDURE burn(ids int) LANGUAGE plpgsql AS 'BEGIN FOR n IN 1..ids LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END'",
      );
      await freeze();
    },
    causes: { warning: burn(4000), critical: burn(20_000) },
    end: async () => {
      await freeze();
      await on.superuser("DROP PROCEDURE burn");
    },
  };
}

/** WAL of so many MiB. */
export const writeWal = (on: Drilled, mebibytes: number): Promise<string> =>
  on.superuser(
    `CREATE TABLE much AS SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, ${mebibytes * 1000}) i; DROP TABLE much`,
  );

/** Logical: Patroni drops physical slots that it does not know. */
function retainedWal(on: Drilled): Drill {
  return {
    alerts: ["slot_retained_wal"],
    labels: { server: "pg0", slot: "forgotten" },
    before: () => on.superuser("SELECT pg_create_logical_replication_slot('forgotten', 'test_decoding')"),
    causes: { warning: () => writeWal(on, 50), critical: () => writeWal(on, 60) },
    end: () => on.superuser("SELECT pg_drop_replication_slot('forgotten')"),
  };
}

/** `maxConnections`: the stack's. */
export const serverDrills = (on: Drilled, maxConnections: number): Drill[] => [
  checkpoints(on),
  connections(on, maxConnections),
  cacheHits(on),
  slowStatements(on),
  deadTuples(on),
  transactions(on),
  deadlocks(on),
  transactionIds(on),
  retainedWal(on),
];
