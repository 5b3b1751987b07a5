-- requires: 3
-- Who makes sales, and with which settings, is decided in PostgreSQL alone: sales are made while Redis is away, and a
-- scheduler that was deposed, or is configured otherwise, cannot remake one.

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
