-- requires: 1
-- Every second, each inventory process asks which sales need a leader, and each web process which are unsold. Without
-- these indexes both read every sale there ever was. A sale's row is updated with each commit of purchases: such an
-- update stays HOT, because it leaves `starts_at` and `sold_out_at` alone until the last item goes.

CREATE INDEX sales_unsold ON sales (starts_at) WHERE sold_out_at IS NULL;
CREATE INDEX sales_sold_out_at ON sales (sold_out_at) WHERE sold_out_at IS NOT NULL;
