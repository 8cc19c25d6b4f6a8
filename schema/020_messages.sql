CREATE TABLE IF NOT EXISTS conversations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title text,
    inserted_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE IF NOT EXISTS conversation_members (
    conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    inserted_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (conversation_id, user_id)
);
CREATE INDEX IF NOT EXISTS idx_conversation_members_user ON conversation_members (user_id);

-- The key holds inserted_at from the start: partitions by month (stage 3) need it there.
CREATE TABLE IF NOT EXISTS messages (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    conversation_id uuid NOT NULL REFERENCES conversations,
    sender_id uuid NOT NULL REFERENCES users,
    content text,
    read_at timestamp,
    inserted_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (id, inserted_at)
);
CREATE INDEX IF NOT EXISTS idx_messages_conversation ON messages (conversation_id, inserted_at DESC);
CREATE INDEX IF NOT EXISTS idx_messages_sender ON messages (sender_id);
CREATE INDEX IF NOT EXISTS idx_messages_content_search ON messages USING gin (to_tsvector('english', content));
CREATE INDEX IF NOT EXISTS idx_messages_unread ON messages (conversation_id) WHERE read_at IS NULL;
-- Partitioned (stage 3), the leaves carry these.
DO $$ BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'messages'::regclass) = 'r' THEN
        ALTER TABLE messages SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS reactions (
    message_id uuid NOT NULL,
    message_inserted_at timestamp NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    emoji text NOT NULL,
    inserted_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (message_id, user_id, emoji),
    FOREIGN KEY (message_id, message_inserted_at) REFERENCES messages (id, inserted_at) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_reactions_user ON reactions (user_id);
ALTER TABLE reactions SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
