"""`flash up`: the whole service on one machine, stores and processes, started and stopped as one."""

from flash.up.command import CONCURRENCY, any_port, is_free, parse_concurrency, up

__all__ = ["CONCURRENCY", "any_port", "is_free", "parse_concurrency", "up"]
