-- The whole schema, for readers. `flash migrate` builds it step by step from flash/stores/migrations; this file,
-- applied to an empty database, makes the same.
-- A sale's items are a range of ids, so a half-made sale cannot exist and opening one costs one row.

CREATE TABLE sales (
    id            bigint      PRIMARY KEY,
    -- two schedulers cannot make two sales of one period
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
    -- a database that takes over with less may count the same epoch again: the token tells the two terms apart
    term_token    bytea       CHECK (octet_length(term_token) = 16),
    -- set while the sale is paused: since when, by whom, and what had been sold by then
    paused_at     timestamptz,
    paused_by     text        CHECK (length(paused_by) BETWEEN 1 AND 64),
    paused_sold   integer,
    -- a sale closes when its last item goes, not before and not later
    CHECK ((sold = stock) = (sold_out_at IS NOT NULL)),
    CONSTRAINT sales_pause_check CHECK (num_nulls(paused_at, paused_by, paused_sold) IN (0, 3)),
    -- whoever tries, a process of an earlier release too
    CONSTRAINT sales_nothing_sold_while_paused CHECK (sold = paused_sold),
    -- one item belongs to one sale
    EXCLUDE USING gist (int8range(first_item_id, first_item_id + stock) WITH &&)
) WITH (fillfactor = 20); -- each commit of purchases updates the row: leave room on its page for HOT updates

-- Every second, each process looks for sales that are unsold or have just sold out: not through those of the past.
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
    -- the random part of a code of release 0.1; the next release drops it
    secret       bytea       CHECK (octet_length(secret) = 16),
    -- the query string of a malformed attempt, bytes beyond ASCII percent-encoded, cut at 1,024 bytes
    query        bytea       CHECK (octet_length(query) <= 1024),
    -- what stands for the buyer in the code: a code proves itself by this row
    user_digest  bytea       CHECK (octet_length(user_digest) = 16),
    -- a code always has its sale, item and buyer
    CONSTRAINT checkouts_issued_check CHECK ((outcome = 'issued') = (secret IS NOT NULL OR user_digest IS NOT NULL)),
    CONSTRAINT checkouts_code_check
        CHECK (outcome <> 'issued' OR (sale_id IS NOT NULL AND item_id IS NOT NULL AND user_id IS NOT NULL))
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

-- The deployment's id, the key of its messages in Redis, and the key of the users' digests. The first migration run makes
-- them.
CREATE TABLE secrets (
    name  text  PRIMARY KEY,
    value bytea NOT NULL
);

-- The keys of the codes' tags. `flash keys rotate` adds one.
CREATE TABLE code_keys (
    id         smallint    PRIMARY KEY CHECK (id BETWEEN 1 AND 255),
    value      bytea       NOT NULL CHECK (octet_length(value) = 32),
    made_at    timestamptz NOT NULL DEFAULT now(),
    -- some time after it was made, when every process has read it
    signs_from timestamptz NOT NULL
);

-- Who makes sales, and with which settings.
CREATE TABLE scheduler (
    -- there is one row
    id             smallint    PRIMARY KEY CHECK (id = 1),
    -- the process that makes sales until then, by this database's clock
    holder         bytea,
    expires_at     timestamptz NOT NULL,
    -- the settings of the process that started last, which all processes follow
    configured_at  timestamptz NOT NULL,
    period_seconds integer     NOT NULL CHECK (period_seconds >= 1),
    size           integer     NOT NULL CHECK (size BETWEEN 1 AND 1000000),
    user_limit     smallint    NOT NULL CHECK (user_limit BETWEEN 1 AND 10)
) WITH (fillfactor = 20); -- updated each second: leave room on its page for HOT updates

-- Every pause of a sale by its operator, and every end of one. Rows are only added.
CREATE TABLE sale_pauses (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sale_id bigint      NOT NULL,
    action  text        NOT NULL CHECK (action IN ('pause', 'resume')),
    at      timestamptz NOT NULL,
    -- who it was, as they call themselves, and why
    by      text        NOT NULL CHECK (length(by) BETWEEN 1 AND 64),
    reason  text        NOT NULL CHECK (length(reason) <= 500),
    -- what the sale had sold: a pause and its end must agree
    sold    integer     NOT NULL
);
CREATE INDEX sale_pauses_sale ON sale_pauses (sale_id, id);

-- Which migrations were applied, by which release, and when.
CREATE TABLE schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    -- the oldest version that a running process must know to work with this one
    requires   integer     NOT NULL,
    -- SHA-256 of its file, which must not change once it was applied
    checksum   text        NOT NULL,
    release    text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO schema_migrations (version, name, requires, checksum, release) VALUES
    (1, 'first_release', 1, '794148a019ee99065e133f4ffaea49a5af825f78d90c51f6eb9b043404fe2989', 'schema.sql'),
    (2, 'index_unsold_sales', 1, '12100b0ee50d573c6609f7bc860f9147424b1111dc7ceddb78e2e043c1805bb4', 'schema.sql'),
    (3, 'codes_say_all', 3, '115bc23bfda0894bfcd1ded78f019c20218d460fb5e5c02b12f924e5505f1156', 'schema.sql'),
    (4, 'scheduler', 3, '11f389d5b2f271ed9b9b5330618ecdf40d229064a3228684e82fb49def5eb5b3', 'schema.sql'),
    (5, 'pause_sales', 3, '2b9c96126051a12bace7f9e0216c800ed1eb3bf66f1be8a9710c86684d6e77eb', 'schema.sql');
