"""The outside world: PostgreSQL, the only truth, and Redis, which elects leaders and carries messages.

`postgres` and `redis_link` are connections that know no table and no key; `checkouts`, `terms`, `sales`, `schedule` and
`keys` own the SQL of one subject each, `leases` the scripts of leases; `migration` looks after the schema.
"""
