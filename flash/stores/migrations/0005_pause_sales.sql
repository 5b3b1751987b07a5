-- requires: 3
-- An operator may pause a sale. What is paused sells nothing, whoever tries: the check holds for the processes of an
-- earlier release too, which know nothing of pauses. Such a process ends its term at each purchase of the sale, and its
-- buyers hear `outcome_unknown` instead of `paused`; it goes on with every other sale.

ALTER TABLE sales
    -- set while the sale is paused: since when, by whom, and what had been sold by then
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN paused_by text CHECK (length(paused_by) BETWEEN 1 AND 64),
    ADD COLUMN paused_sold integer,
    ADD CONSTRAINT sales_pause_check CHECK (num_nulls(paused_at, paused_by, paused_sold) IN (0, 3)),
    ADD CONSTRAINT sales_nothing_sold_while_paused CHECK (sold = paused_sold);

-- Every pause and every end of one. Rows are only added.
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
