/** The statements of a chat, and the data on which they are measured. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../scripts/lib/paths.ts";

export interface Script {
  readonly name: string;
  readonly title: string;
  readonly text: string;
  readonly writes: boolean;
  /** Marks messages as read: each conversation can be marked once. */
  readonly marks?: boolean;
}

export const CONVERSATIONS = 20_000;
/** Conversations with two messages each: what one shard has of a conversation whose messages are on all of them. */
const SMALL = 2_000;
const USERS = 20_000;
const TEXTS = 50_000;

const LAST_50 = "SELECT id, sender_id, content, read_at, inserted_at FROM messages WHERE conversation_id";
const read = (prefix: string, count: number): string =>
  `\\set c random(0, ${count - 1})\n${LAST_50} = md5('${prefix}' || :c)::uuid ORDER BY inserted_at DESC LIMIT 50;\n`;

export const LOOKUP: Script = {
  name: "lookup",
  title: "a user by name",
  writes: false,
  text: `\\set u random(0, ${USERS - 1})\nSELECT id, username, email, display_name FROM users WHERE username = 'user' || :u;\n`,
};

export const SCRIPTS: readonly Script[] = [
  { name: "read", title: "the last 50 messages", writes: false, text: read("c", CONVERSATIONS) },
  { name: "readPart", title: "the same, two there", writes: false, text: read("s", SMALL) },
  LOOKUP,
  {
    name: "insert",
    title: "insert a message",
    writes: true,
    text: `\\set c random(0, ${CONVERSATIONS - 1})
\\set u random(0, ${USERS - 1})
\\set t random(0, ${TEXTS - 1})
INSERT INTO messages (conversation_id, sender_id, content)
  SELECT md5('c' || :c)::uuid, md5('u' || :u)::uuid, sentence FROM texts WHERE s = :t;
`,
  },
  {
    name: "mark",
    title: "mark 2 messages as read",
    writes: true,
    marks: true,
    // A variable lives as long as its client: each takes conversations of its own, one after the other.
    text: `\\set i :i + 1
\\set c (:i * 4 + :client_id) % ${CONVERSATIONS}
UPDATE messages SET read_at = now() AT TIME ZONE 'UTC' WHERE conversation_id = md5('c' || :c)::uuid AND read_at IS NULL;
`,
  },
  {
    name: "reaction",
    title: "insert a reaction",
    writes: true,
    text: `\\set n random(1, :rows)
\\set u random(0, ${USERS - 1})
INSERT INTO reactions (message_id, message_inserted_at, user_id, emoji)
  VALUES (md5('m' || :n)::uuid, timestamp '2026-01-01' + :n * interval '1 second', md5('u' || :u)::uuid, '👍')
  ON CONFLICT DO NOTHING;
`,
  },
];

/** CGraph's tables, as `schema apply` makes them. */
export const schemaSql = (): string =>
  readdirSync(join(ROOT, "schema"))
    .filter((file) => file.endsWith(".sql"))
    .sort()
    .map((file) => readFileSync(join(ROOT, "schema", file), "utf8"))
    .join("\n");

/** Users, conversations, and texts of 4 to 20 words out of 20 000, some far more usual than others. */
export const SEED_SQL = `
SELECT setseed(0.42);
INSERT INTO users (id, username, email, display_name)
  SELECT md5('u' || u)::uuid, 'user' || u, 'user' || u || '@example.com', 'User number ' || u FROM generate_series(0, ${USERS - 1}) u;
INSERT INTO conversations (id, title) SELECT md5('c' || c)::uuid, 'conversation ' || c FROM generate_series(0, ${CONVERSATIONS - 1}) c;
INSERT INTO conversations (id, title) SELECT md5('s' || c)::uuid, 'small ' || c FROM generate_series(0, ${SMALL - 1}) c;
INSERT INTO conversation_members SELECT md5('c' || n % ${CONVERSATIONS})::uuid, md5('u' || (n + n / ${CONVERSATIONS} * 7) % ${USERS})::uuid
  FROM generate_series(0, ${CONVERSATIONS * 2 - 1}) n ON CONFLICT DO NOTHING;
CREATE TABLE words AS SELECT n, translate(left(md5(n::text), 2 + n % 9), '0123456789', 'ghijklmnop') AS w FROM generate_series(0, 19999) n;
CREATE TABLE texts (s int PRIMARY KEY, sentence text NOT NULL);
INSERT INTO texts SELECT s, string_agg(w, ' ' ORDER BY place)
  FROM (SELECT s, place, floor(power(random(), 3) * 20000)::int AS n FROM generate_series(0, ${TEXTS - 1}) s, generate_series(1, 4 + s % 17) place) picks
  JOIN words USING (n) GROUP BY s;
ANALYZE;`;

/** Messages from `first` to `last`: conversations take turns, so that each one's are spread over the table. */
export const messagesSql = (first: number, last: number): string => `
INSERT INTO messages (id, conversation_id, sender_id, content, inserted_at)
  SELECT md5('m' || n)::uuid, md5('c' || n * 7919::bigint % ${CONVERSATIONS})::uuid, md5('u' || n % ${USERS})::uuid, sentence,
    timestamp '2026-01-01' + n * interval '1 second'
  FROM generate_series(${first}, ${last}) n JOIN texts ON s = n % ${TEXTS};`;

export const SMALL_SQL = `
INSERT INTO messages (conversation_id, sender_id, content, read_at)
  SELECT md5('s' || n % ${SMALL})::uuid, md5('u' || n)::uuid, sentence, '2026-01-01' FROM generate_series(0, ${SMALL * 2 - 1}) n JOIN texts ON s = n;`;

/** Two unread messages in each conversation again. */
export async function resetReadMarks(server: { sql(text: string): Promise<string> }): Promise<void> {
  await server.sql(`UPDATE messages m SET read_at = NULL FROM (SELECT md5('c' || c)::uuid AS id FROM generate_series(0, ${CONVERSATIONS - 1}) c) k,
    LATERAL (SELECT id, inserted_at FROM messages WHERE conversation_id = k.id ORDER BY inserted_at DESC LIMIT 2) last
    WHERE m.id = last.id AND m.inserted_at = last.inserted_at`);
  await server.sql("VACUUM ANALYZE messages");
  await server.sql("CHECKPOINT");
}
