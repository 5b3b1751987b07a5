-- The only truth, as a whole, for readers: what an empty database becomes by all of flash/stores/migrations.
-- `flash migrate` applies those; applying this file to an empty database makes the same.
-- A sale's items are a range of ids, so a half-made sale cannot exist and opening one costs one row.

CREATE TABLE sales (
    id            bigint      PRIMARY KEY,
    -- two clocks cannot make two sales of one hour
    starts_at     timestamptz NOT NULL UNIQUE,
    -- its index also finds the sale of an item
    first_item_id bigint      NOT NULL UNIQUE CHECK (first_item_id >= 1),
    stock         integer     NOT NULL CHECK (stock BETWEEN 1 AND 1000000),
    user_limit    smallint    NOT NULL CHECK (user_limit BETWEEN 1 AND 10),
    -- selling one too many fails the whole commit
    sold          integer     NOT NULL DEFAULT 0 CHECK (sold BETWEEN 0 AND stock),
    -- the fence: it only rises, and a purchase commits only under the present one
    epoch         bigint      NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    sold_out_at   timestamptz,
    -- a sale closes when its last item goes, not before and not later
    CHECK ((sold = stock) = (sold_out_at IS NOT NULL)),
    -- one item belongs to one sale
    EXCLUDE USING gist (int8range(first_item_id, first_item_id + stock) WITH &&)
) WITH (fillfactor = 20); -- each commit of purchases updates the row: leave room on its page for HOT updates

-- Every second, each process looks for the sales that matter: these indexes spare it those of the past.
CREATE INDEX sales_unsold ON sales (starts_at) WHERE sold_out_at IS NULL;
CREATE INDEX sales_sold_out_at ON sales (sold_out_at) WHERE sold_out_at IS NOT NULL;

-- Every attempt, refused and malformed ones too. It refers to nothing: an attempt must be recordable whatever it names.
CREATE TABLE checkouts (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    attempted_at timestamptz NOT NULL DEFAULT now(),
    outcome      text        NOT NULL CHECK (outcome IN
        ('issued', 'invalid_request', 'item_not_found', 'sale_not_open', 'item_sold', 'sold_out')),
    sale_id      bigint,
    item_id      bigint,
    user_id      text,
    -- the random part of the code; the rest of the code is sale_id, id and a keyed tag
    secret       bytea       CHECK (octet_length(secret) = 16),
    -- the query string of a malformed attempt as it came, cut at 1,024 bytes
    query        bytea       CHECK (octet_length(query) <= 1024),
    -- a code always has its sale, item and buyer
    CHECK ((outcome = 'issued') = (secret IS NOT NULL)),
    CHECK (secret IS NULL OR (sale_id IS NOT NULL AND item_id IS NOT NULL AND user_id IS NOT NULL))
);

CREATE TABLE purchases (
    sale_id      bigint      NOT NULL,
    item_id      bigint      NOT NULL,
    -- a code sells once
    checkout_id  bigint      NOT NULL UNIQUE,
    user_id      text        NOT NULL,
    -- the buyer's n-th item of this sale: the limit holds even if the actor miscounts
    slot         smallint    NOT NULL CHECK (slot BETWEEN 1 AND 10),
    epoch        bigint      NOT NULL,
    request_id   text        NOT NULL,
    purchased_at timestamptz NOT NULL,
    -- an item is sold once
    PRIMARY KEY (sale_id, item_id),
    UNIQUE (sale_id, user_id, slot)
);

-- The key of the codes' tags, made once by whoever migrates first.
CREATE TABLE secrets (
    name  text  PRIMARY KEY,
    value bytea NOT NULL
);

-- Which migrations this database has had, by whom, and since when.
CREATE TABLE schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    -- the oldest version that a running process must know to work with this one
    requires   integer     NOT NULL,
    -- SHA-256 of the file: one that was applied must not change any more
    checksum   text        NOT NULL,
    release    text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO schema_migrations (version, name, requires, checksum, release) VALUES
    (1, 'first_release', 1, 'e2b1d311acdc03f7679c57bad63bea84b64609b9e5edfd7dbea916e39b8bc384', 'schema.sql'),
    (2, 'find_sales_by_end', 1, '1d65be7206bad502dfca07078d79bd6b7dbcd70080b7d6d9d255a9e92235a1d3', 'schema.sql');
