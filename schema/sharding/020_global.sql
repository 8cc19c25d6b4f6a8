-- The global database: the shard map's rules, and what has to be unique over all shards.

-- Versions are added, one by one, and never changed.
CREATE OR REPLACE FUNCTION sharding.check_map() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last sharding.maps;
    bucket bigint;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        RAISE EXCEPTION 'versions of the shard map are not changed or deleted' USING HINT = 'publish another version';
    END IF;
    SELECT * INTO last FROM sharding.maps ORDER BY version DESC LIMIT 1;
    IF NEW.version <> coalesce(last.version, 0) + 1 THEN
        RAISE EXCEPTION 'version % of the shard map does not follow version %', NEW.version, coalesce(last.version, 0)
            USING ERRCODE = 'serialization_failure', HINT = 'somebody else has published one: read it, then decide anew';
    END IF;
    IF cardinality(NEW.shards) <> cardinality(last.shards) THEN
        RAISE EXCEPTION 'the map has % buckets, there are %', cardinality(NEW.shards), cardinality(last.shards)
            USING HINT = 'their number is fixed with the first map';
    END IF;
    SELECT min(i) - 1 INTO bucket FROM generate_subscripts(NEW.shards, 1) i WHERE NEW.shards[i] IS NULL;
    IF bucket IS NOT NULL THEN
        RAISE EXCEPTION 'bucket % has no shard', bucket USING HINT = 'give every bucket exactly one';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER check_map BEFORE INSERT OR UPDATE OR DELETE ON sharding.maps
    FOR EACH ROW EXECUTE FUNCTION sharding.check_map();
CREATE OR REPLACE TRIGGER check_map_truncate BEFORE TRUNCATE ON sharding.maps
    FOR EACH STATEMENT EXECUTE FUNCTION sharding.check_map();

-- Who has which name. A claim is made before the user's row is written on its shard, and confirmed after it: one that
-- stays unconfirmed is settled by looking at the shard (sharding/Directory.ts).
CREATE TABLE IF NOT EXISTS user_directory (
    user_id uuid PRIMARY KEY,
    username text NOT NULL,
    email text NOT NULL,
    wallet_address text,
    confirmed boolean NOT NULL DEFAULT false,
    claimed_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX IF NOT EXISTS idx_user_directory_username ON user_directory (username);
CREATE UNIQUE INDEX IF NOT EXISTS idx_user_directory_email ON user_directory (email);
CREATE UNIQUE INDEX IF NOT EXISTS idx_user_directory_wallet_address ON user_directory (wallet_address)
    WHERE wallet_address IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_user_directory_unconfirmed ON user_directory (claimed_at) WHERE NOT confirmed;
