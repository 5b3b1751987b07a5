-- requires: 1
-- The schema of release 0.1.0. That release recorded no version, so this step also runs on the databases that it made,
-- where every statement here must be harmless.

CREATE TABLE IF NOT EXISTS sales (
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

-- Every attempt, refused and malformed ones too. It refers to nothing: an attempt must be recordable whatever it names.
CREATE TABLE IF NOT EXISTS checkouts (
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

CREATE TABLE IF NOT EXISTS purchases (
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
CREATE TABLE IF NOT EXISTS secrets (
    name  text  PRIMARY KEY,
    value bytea NOT NULL
);
