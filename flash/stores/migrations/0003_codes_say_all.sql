-- requires: 3
-- A code says all that a decision needs, so its row keeps a digest of the buyer instead of a secret. Codes of release
-- 0.1 keep their secret until the next release. That release cannot read the new codes: stop its processes first.

-- a database that takes over with less may count the same epoch again: the token tells the two terms apart
ALTER TABLE sales ADD COLUMN term_token bytea CHECK (octet_length(term_token) = 16);

ALTER TABLE checkouts
    ADD COLUMN user_digest bytea CHECK (octet_length(user_digest) = 16),
    DROP CONSTRAINT checkouts_check,
    DROP CONSTRAINT checkouts_check1,
    ADD CONSTRAINT checkouts_issued_check
        CHECK ((outcome = 'issued') = (secret IS NOT NULL OR user_digest IS NOT NULL)),
    ADD CONSTRAINT checkouts_code_check
        CHECK (outcome <> 'issued' OR (sale_id IS NOT NULL AND item_id IS NOT NULL AND user_id IS NOT NULL));

CREATE TABLE code_keys (
    id         smallint    PRIMARY KEY CHECK (id BETWEEN 1 AND 255),
    value      bytea       NOT NULL CHECK (octet_length(value) = 32),
    made_at    timestamptz NOT NULL DEFAULT now(),
    -- some time after it was made, when every process has read it
    signs_from timestamptz NOT NULL
);
