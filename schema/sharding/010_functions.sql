-- Everywhere in a sharded stack: placement of ids in buckets, ids that sort by time.
CREATE SCHEMA IF NOT EXISTS sharding;
GRANT USAGE ON SCHEMA sharding TO PUBLIC;

-- The remainder of PostgreSQL's own hash partitioning by a uuid; `buckets` is a power of two up to 2048.
CREATE OR REPLACE FUNCTION sharding.bucket(id uuid, buckets int) RETURNS int
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (((uuid_hash_extended(id, 8816678312871386365) & (buckets - 1)) + 227) & (buckets - 1))::int;

-- Milliseconds since 1970, then random bits (RFC 9562, version 7). PostgreSQL 18 has one of its own, which then goes first.
CREATE OR REPLACE FUNCTION public.uuidv7() RETURNS uuid
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
            52, 1), 53, 1), 'hex')::uuid;

-- The shard map. Each row is a version, whole: one shard for each bucket, by position (bucket 0 first). So no bucket can
-- have two shards, and the checks let none be without. Written in the global database, replicated to every shard.
CREATE OR REPLACE FUNCTION sharding.is_assignment(shards int[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN array_ndims(shards) = 1 AND array_lower(shards, 1) = 1 AND cardinality(shards) <= 2048
        AND cardinality(shards) & (cardinality(shards) - 1) = 0
        AND array_position(shards, NULL) IS NULL AND 0 <= ALL (shards);

CREATE TABLE IF NOT EXISTS sharding.maps (
    version bigint PRIMARY KEY CHECK (version > 0),
    shards int[] NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    -- Of an empty array the function knows nothing.
    CONSTRAINT every_bucket_has_one_shard CHECK (coalesce(sharding.is_assignment(shards), false))
);
GRANT SELECT ON sharding.maps TO PUBLIC;

-- The newest map: version, and the shard of each bucket.
CREATE OR REPLACE VIEW sharding.current_map AS
    SELECT version, shards FROM sharding.maps ORDER BY version DESC LIMIT 1;
GRANT SELECT ON sharding.current_map TO PUBLIC;

-- The shard of an id, by the newest map; null where there is no map.
CREATE OR REPLACE FUNCTION sharding.shard_of(id uuid) RETURNS int
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN (SELECT m.shards[sharding.bucket(id, cardinality(m.shards)) + 1] FROM sharding.current_map m);

-- Rows that a stream carries beside everything else: who finds one at the other end knows that all before it has arrived.
CREATE TABLE IF NOT EXISTS sharding.marks (
    stream text,
    id uuid,
    PRIMARY KEY (stream, id)
);
