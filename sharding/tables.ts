/** Every table of schema/ and where its rows are once there are shards: the shard key, and what becomes of foreign keys. */

/** A reference to another table. */
export interface ForeignKey {
  readonly columns: readonly string[];
  readonly references: string;
  /**
   * `local`: the row it refers to is on the same shard, or a copy of it is: PostgreSQL goes on checking it.
   * `dropped`: that row may be on any shard. What keeps it right instead: `instead`.
   */
  readonly kept: { readonly as: "local" } | { readonly as: "dropped"; readonly instead: string };
}

export interface TablePlacement {
  readonly name: string;
  /** The uuid column whose bucket a row belongs to; null: a global table, whole in the global database and on every shard. */
  readonly shardKey: string | null;
  /** The primary key on a shard, which has the shard key in it. */
  readonly primaryKey: readonly string[];
  readonly foreignKeys: readonly ForeignKey[];
}

const local = (column: string, references: string): ForeignKey => ({
  columns: [column],
  references,
  kept: { as: "local" },
});
const dropped = (columns: readonly string[], references: string, instead: string): ForeignKey => ({
  columns,
  references,
  kept: { as: "dropped", instead },
});

const ASKED_BEFORE = "the application asks for it before it writes, on the shard of its own id; orphans are counted";

/**
 * A table of a user's data is sharded by that user (the guide's choice), who never changes. Conversations and groups are
 * many users': by their own id, which never changes either (a group's owner does).
 */
export const TABLES: readonly TablePlacement[] = [
  { name: "users", shardKey: "id", primaryKey: ["id"], foreignKeys: [] },
  { name: "conversations", shardKey: "id", primaryKey: ["id"], foreignKeys: [] },
  {
    name: "conversation_members",
    shardKey: "user_id",
    primaryKey: ["conversation_id", "user_id"],
    foreignKeys: [dropped(["conversation_id"], "conversations", ASKED_BEFORE), local("user_id", "users")],
  },
  {
    name: "messages",
    shardKey: "sender_id",
    primaryKey: ["id", "inserted_at", "sender_id"],
    foreignKeys: [
      dropped(
        ["conversation_id"],
        "conversations",
        "the sender's membership is a row of the same shard: it is asked for",
      ),
      local("sender_id", "users"),
    ],
  },
  {
    name: "reactions",
    shardKey: "user_id",
    primaryKey: ["message_id", "user_id", "emoji"],
    foreignKeys: [
      dropped(
        ["message_id", "message_inserted_at"],
        "messages",
        "the application shows a message before it is reacted to; reactions of deleted messages are orphans, counted",
      ),
      local("user_id", "users"),
    ],
  },
  {
    name: "groups",
    shardKey: "id",
    primaryKey: ["id"],
    foreignKeys: [dropped(["owner_id"], "users", ASKED_BEFORE)],
  },
  {
    name: "group_members",
    shardKey: "user_id",
    primaryKey: ["group_id", "user_id"],
    foreignKeys: [dropped(["group_id"], "groups", ASKED_BEFORE), local("user_id", "users")],
  },
  { name: "forums", shardKey: null, primaryKey: ["id"], foreignKeys: [] },
  {
    name: "posts",
    shardKey: "author_id",
    primaryKey: ["id", "inserted_at", "author_id"],
    foreignKeys: [local("forum_id", "forums"), local("author_id", "users")],
  },
  {
    name: "votes",
    shardKey: "user_id",
    primaryKey: ["post_id", "user_id"],
    foreignKeys: [
      dropped(["post_id", "post_inserted_at"], "posts", "a post is shown before it is voted on; orphans are counted"),
      local("user_id", "users"),
    ],
  },
  { name: "settings", shardKey: null, primaryKey: ["key"], foreignKeys: [] },
  { name: "feature_flags", shardKey: null, primaryKey: ["name"], foreignKeys: [] },
  { name: "announcements", shardKey: null, primaryKey: ["id"], foreignKeys: [] },
];

export interface ShardedTable extends TablePlacement {
  readonly shardKey: string;
}

const isSharded = (table: TablePlacement): table is ShardedTable => table.shardKey !== null;
export const shardedTables = (tables: readonly TablePlacement[] = TABLES): ShardedTable[] => tables.filter(isSharded);
export const globalTables = (tables: readonly TablePlacement[] = TABLES): TablePlacement[] =>
  tables.filter((table) => !isSharded(table));
