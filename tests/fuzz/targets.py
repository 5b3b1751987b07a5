"""The four sides that hostile input comes from."""

from __future__ import annotations

from tests.fuzz import environment_target, http_target, postgres_target, redis_target
from tests.fuzz.findings import Target

TARGETS: dict[str, Target] = {
    "http": http_target.run,
    "redis": redis_target.run,
    "postgres": postgres_target.run,
    "environment": environment_target.run,
}
