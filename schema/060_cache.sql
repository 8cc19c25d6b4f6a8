-- What the cache follows: keys, and of messages what unread counts need; no message's content.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'cgraph_cache') THEN
        CREATE PUBLICATION cgraph_cache FOR TABLE
            users (id),
            groups (id),
            group_members (group_id, user_id),
            votes (post_id, user_id),
            messages (id, inserted_at, conversation_id, sender_id)
            WITH (publish_via_partition_root = true);
    END IF;
END $$;
