-- A shard: which buckets are its own, and the refusal of rows of all others.

-- One row: what this database is. Bit n of `owned` stands for bucket n, from the left.
CREATE TABLE IF NOT EXISTS sharding.this_shard (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    shard int NOT NULL CHECK (shard >= 0),
    map_version bigint NOT NULL,
    owned bit varying NOT NULL CHECK (length(owned) BETWEEN 1 AND 2048 AND length(owned) & (length(owned) - 1) = 0)
);
GRANT SELECT ON sharding.this_shard TO PUBLIC;

-- Takes effect when all transactions that have asked before it have ended: they hold a lock on the table they read.
-- A transaction of isolation level repeatable read or above that began earlier and has asked nothing yet still sees what was: who
-- moves a bucket waits until those have ended too.
CREATE OR REPLACE FUNCTION sharding.set_owned(shard int, map_version bigint, buckets int[], bucket_count int) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    bits bit varying := repeat('0', bucket_count)::bit varying;
    bucket int;
BEGIN
    FOREACH bucket IN ARRAY buckets LOOP
        bits := set_bit(bits, bucket, 1);
    END LOOP;
    LOCK TABLE sharding.this_shard IN ACCESS EXCLUSIVE MODE;
    INSERT INTO sharding.this_shard VALUES (true, shard, map_version, bits)
        ON CONFLICT (one) DO UPDATE
        SET shard = excluded.shard, map_version = excluded.map_version, owned = excluded.owned;
END $$;
REVOKE ALL ON FUNCTION sharding.set_owned(int, bigint, int[], int) FROM PUBLIC;

-- Volatile, though it only reads: each call has to see what is so then, not what was when its statement began to wait.
CREATE OR REPLACE FUNCTION sharding.owns_bucket(bucket int) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    mine bit varying;
BEGIN
    SELECT owned INTO mine FROM sharding.this_shard;
    RETURN coalesce(get_bit(mine, bucket) = 1, false);
END $$;
CREATE OR REPLACE FUNCTION sharding.owns(id uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    mine bit varying;
BEGIN
    SELECT owned INTO mine FROM sharding.this_shard;
    RETURN coalesce(get_bit(mine, sharding.bucket(id, length(mine))) = 1, false);
END $$;

-- SH001: the row's bucket is another shard's. The client's map is stale: it reads the map again and tries once more.
CREATE OR REPLACE FUNCTION sharding.refuse(bucket int, what text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    here sharding.this_shard;
BEGIN
    SELECT * INTO here FROM sharding.this_shard;
    RAISE EXCEPTION '%', CASE
            WHEN here IS NULL THEN format('%s: this database is not set up as a shard', what)
            ELSE format('%s: bucket %s is not on shard %s', what, bucket, here.shard) END
        USING ERRCODE = 'SH001', DETAIL = format('bucket %s, map version %s', bucket, here.map_version),
            HINT = 'read the shard map again, and ask the shard that has the bucket';
END $$;

-- Refuses where this shard does not have the bucket. In a transaction it also holds the bucket: it stays here until the
-- transaction has ended.
CREATE OR REPLACE FUNCTION sharding.require_bucket(bucket int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT sharding.owns_bucket(bucket) THEN
        PERFORM sharding.refuse(bucket, 'asked');
    END IF;
END $$;

-- Trigger of every sharded table, with the shard key's column. Called where the row's bucket is not this shard's; fires
-- for clients only: those who apply a stream of changes have session_replication_role = replica.
CREATE OR REPLACE FUNCTION sharding.refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key uuid := (CASE TG_OP WHEN 'INSERT' THEN to_jsonb(NEW) ELSE to_jsonb(OLD) END ->> TG_ARGV[0])::uuid;
BEGIN
    PERFORM sharding.refuse(sharding.bucket(key, (SELECT length(owned) FROM sharding.this_shard)),
        format('%s.%s %s', TG_TABLE_NAME, TG_ARGV[0], key));
    RETURN NULL;
END $$;

-- A row whose shard key changed would belong elsewhere.
CREATE OR REPLACE FUNCTION sharding.refuse_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the shard key %.% cannot be changed', TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'SH002', HINT = 'insert the row anew, and delete this one';
END $$;

-- Global tables are written in the global database, and come here from there.
CREATE OR REPLACE FUNCTION sharding.refuse_global() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is a global table: a shard has a copy to read', TG_TABLE_NAME
        USING ERRCODE = 'SH003', HINT = 'write it in the global database (DATABASE_GLOBAL_URL)';
END $$;
