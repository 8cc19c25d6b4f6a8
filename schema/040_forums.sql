-- Posts grow like messages and will be partitioned like them.
CREATE TABLE IF NOT EXISTS posts (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    forum_id uuid NOT NULL REFERENCES forums,
    author_id uuid NOT NULL REFERENCES users,
    title text NOT NULL,
    content text,
    inserted_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (id, inserted_at)
);
CREATE INDEX IF NOT EXISTS idx_posts_forum ON posts (forum_id, inserted_at DESC);
CREATE INDEX IF NOT EXISTS idx_posts_author ON posts (author_id);
-- Partitioned (stage 3), the leaves carry these.
DO $$ BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'posts'::regclass) = 'r' THEN
        ALTER TABLE posts SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS votes (
    post_id uuid NOT NULL,
    post_inserted_at timestamp NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    value smallint NOT NULL CHECK (value IN (-1, 1)),
    inserted_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (post_id, user_id),
    FOREIGN KEY (post_id, post_inserted_at) REFERENCES posts (id, inserted_at) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_votes_user ON votes (user_id);
