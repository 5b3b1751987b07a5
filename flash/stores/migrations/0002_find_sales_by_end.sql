-- requires: 1
-- Every second each inventory process asks which sales need a leader, and each web process which are unsold. Both read
-- every sale there ever was. With these they read only the sales that matter, and `sales` itself is written as before:
-- an update that leaves `sold_out_at` alone is still a HOT one.

CREATE INDEX sales_unsold ON sales (starts_at) WHERE sold_out_at IS NULL;
CREATE INDEX sales_sold_out_at ON sales (sold_out_at) WHERE sold_out_at IS NOT NULL;
