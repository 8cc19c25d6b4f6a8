/** The data that every run starts from: made once, with settings that favour nobody, copied for each run. */
import { docker, helper, named } from "./docker.ts";
import { type Bench, DATABASE, GOLDEN, startServer, sql, stopServer } from "./server.ts";

/** How much data there is and how long each workload runs. */
export interface Scale {
  readonly pgbenchScale: number;
  readonly messages: number;
  readonly conversations: number;
  readonly users: number;
  readonly bulkRows: number;
  readonly tpcbSeconds: number;
  readonly readonlySeconds: number;
  readonly writeSeconds: number;
  /** Size of the gp3-like disk: data, WAL up to max_wal_size, the bulk load. */
  readonly diskMiB: number;
  /** Segments of 16 MB that the server fills before it is measured, see `ageWal`. */
  readonly agedSegments: number;
}

export const FULL: Scale = {
  pgbenchScale: 80,
  messages: 5_000_000,
  conversations: 20_000,
  users: 50_000,
  bulkRows: 5_000_000,
  tpcbSeconds: 15,
  readonlySeconds: 10,
  writeSeconds: 120,
  diskMiB: 20 * 1024,
  agedSegments: 128,
};

export const QUICK: Scale = {
  pgbenchScale: 5,
  messages: 200_000,
  conversations: 2_000,
  users: 5_000,
  bulkRows: 100_000,
  tpcbSeconds: 3,
  readonlySeconds: 2,
  writeSeconds: 4,
  diskMiB: 4 * 1024,
  agedSegments: 4,
};

const WORDS = (
  "the of and to in is you that it he was for on are with as his they be at one have this from or had by hot but some " +
  "what there we can out other were all your when up use word how said an each she which do their time if will way " +
  "about many then them would write like so these her long make thing see him two has look more day could go come did " +
  "my sound no most number who over know water than call first people may down side been now find any new work part " +
  "take get place made live where after back little only round man year came show every good me give our under name " +
  "very through just form much great think say help low line before turn cause same mean differ move right boy old too " +
  "does tell sentence set three want air well also play small end put home read hand port large spell add even land " +
  "here must big high such follow act why ask men change went light kind off need house picture try us again animal " +
  "point mother world near build self earth father head stand own page should country found answer school grow study"
).split(" ");

/** Columns as in the guide (Stage 3 › partitions), with the read_at that its partial index needs. */
export const MESSAGE_COLUMNS = `
  id uuid NOT NULL, conversation_id uuid NOT NULL, sender_id uuid NOT NULL, content text, inserted_at timestamp NOT NULL,
  read_at timestamp`;

/**
 * A row of messages from its number i: ids that a load generator can compute again, busy conversations and senders as
 * in a real chat (the cube of a random number), text of common words in no order that compresses too well.
 */
const messageRows = (scale: Scale, first: number, last: number, read: string): string => `
  SELECT md5('m' || i)::uuid, md5('c' || c)::uuid, md5('u' || u)::uuid, one.sentence || ' ' || two.sentence,
         timestamp '2025-01-01' + i * (interval '180 days' / ${scale.messages}), ${read}
  FROM (SELECT i, floor(power(random(), 3) * ${scale.conversations})::int AS c,
               floor(power(random(), 2) * ${scale.users})::int AS u,
               floor(random() * 20000)::int AS a, floor(random() * 20000)::int AS b
        FROM generate_series(${first}, ${last}) i) picks
  JOIN texts one ON one.s = a JOIN texts two ON two.s = b`;

const script = (scale: Scale): string => `
SELECT setseed(0.42);
CREATE TABLE conversations (id uuid PRIMARY KEY, title text NOT NULL, last_message_at timestamp) WITH (fillfactor = 80);
INSERT INTO conversations SELECT md5('c' || i)::uuid, 'conversation ' || i, '2025-01-01'
FROM generate_series(0, ${scale.conversations - 1}) i;
CREATE TEMP TABLE words AS
  SELECT w, row_number() OVER () AS n FROM unnest(string_to_array('${WORDS.join(" ")}', ' ')) w;
CREATE TEMP TABLE texts AS
  SELECT s, string_agg(w, ' ' ORDER BY place) AS sentence
  FROM (SELECT s, place, 1 + floor(power(random(), 2) * ${WORDS.length})::int AS n
        FROM generate_series(0, 19999) s, generate_series(1, 4 + s % 13) place) picks
  JOIN words USING (n) GROUP BY s;
ANALYZE words, texts;
CREATE TABLE messages (${MESSAGE_COLUMNS});
INSERT INTO messages ${messageRows(scale, 1, scale.messages, "CASE WHEN random() < 0.9 THEN timestamp '2025-07-01' END")};
COPY (${messageRows(scale, scale.messages + 1, scale.messages + scale.bulkRows, "NULL::timestamp")}) TO '/data/bulk.copy';
ALTER TABLE messages ADD PRIMARY KEY (id);
CREATE INDEX idx_messages_conversation ON messages (conversation_id, inserted_at DESC);
CREATE INDEX idx_messages_sender ON messages (sender_id);
CREATE INDEX idx_messages_unread ON messages (conversation_id) WHERE read_at IS NULL;
CREATE EXTENSION pg_prewarm;
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
`;

/** initdb with checksums and the locale of our image, then the data; takes about a minute and a half at full scale. */
export async function prepareGolden(bench: Bench, scale: Scale): Promise<void> {
  const { image, signal } = bench;
  await helper(
    image,
    [`${GOLDEN}:/data`],
    `chown postgres: /data
     runuser -u postgres -- initdb -D /data/pg -U postgres --auth=trust --data-checksums --encoding=UTF8 \
       --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C.UTF-8 > /dev/null
     echo "include_if_exists = 'bench.conf'" >> /data/pg/postgresql.conf`,
    { signal },
  );
  const loading = {
    fsync: "off",
    full_page_writes: "off",
    maintenance_work_mem: "512MB",
    work_mem: "128MB",
    autovacuum: "off",
  };
  await startServer(
    bench,
    GOLDEN,
    Object.entries(loading).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  );
  await sql(signal, `CREATE DATABASE ${DATABASE}`, "postgres");
  await docker(
    [
      "exec",
      named("client"),
      "pgbench",
      "--initialize",
      "--quiet",
      "--init-steps=dtGvp",
      `--scale=${scale.pgbenchScale}`,
      DATABASE,
    ],
    { signal },
  );
  await sql(signal, script(scale));
  await stopServer(signal);
  // WAL of the loading is no part of what is measured.
  await helper(
    image,
    [`${GOLDEN}:/data`],
    "runuser -u postgres -- pg_resetwal -D /data/pg > /dev/null; sync -f /data",
    { signal },
  );
}
