"""PostgreSQL and Valkey of one's own, from wheels: for `flash up`, the tests and the benchmark.

No service process uses it.
"""

from flash.local.embedded.servers import POSTGRES_VERSION, EmbeddedPostgres, EmbeddedValkey, find_postgres, find_valkey

__all__ = ["POSTGRES_VERSION", "EmbeddedPostgres", "EmbeddedValkey", "find_postgres", "find_valkey"]
