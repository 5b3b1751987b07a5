"""Sentinel replaces the primary by a replica that lacks the last second: purchases resume, and nothing is lost.

`scripts/redis-failover` does the same ten times.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from drill.redis_failover import fail_over_while_buying
from flash.testing.sentinel import running_sentinel_group

REDIS = shutil.which("redis-server")
only_with_redis = pytest.mark.skipif(REDIS is None, reason="no redis-server on the PATH to try beside Valkey")


@pytest.mark.parametrize(
    "binary", [None, pytest.param(REDIS and Path(REDIS), marks=only_with_redis)], ids=["Valkey", "Redis"]
)
async def test_a_fail_over_to_a_replica_that_lacks_the_last_second_costs_no_purchase(
    postgres: str, binary: Path | None
) -> None:
    told: list[str] = []
    with running_sentinel_group(binary=binary) as group:
        await fail_over_while_buying(postgres, group, 1, told.append)
    assert "the replica lacked 0 bytes" not in told[0]
    assert len(told) == 3
