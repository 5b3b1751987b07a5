"""Sentinel fails over, again and again, to a replica that lacks the last second, while buyers buy; then it is judged.

    scripts/redis-failover --times 10

It starts its own PostgreSQL, two servers, three Sentinels, two web and two inventory processes, and ends all of them.
Each time the replica is cut off, the primary sells on for a second and is killed, and Sentinel promotes the replica.
The exit code is 0 if purchases resumed in time each time and the history agrees with the database, else 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from flash.errors import first_of
from flash.local.embedded import EmbeddedValkey
from flash.testing.cluster import QUICK, running_cluster, until
from flash.testing.crowd import Crowd
from flash.testing.sentinel import SentinelGroup, is_primary, role_of, running_sentinel_group, tell
from flash.testing.stores import apply_schema, running_postgres
from flash.testing.verification import verify

RESUME_SECONDS = 5.0
"""How long after the promotion purchases may take to resume."""
LACKING_SECONDS = 1.0
_PROMOTION_SECONDS = 15.0
_WHOLE_SECONDS = 30.0
_SETTINGS = {**QUICK, "FLASH_REQUEST_TIMEOUT": "2", "FLASH_SALE_SIZE": "100000"}


@dataclass(frozen=True, slots=True)
class FailOver:
    """What one has cost. Seconds; `lost_bytes` of the replication stream never came to the new primary."""

    promoted_after: float
    resumed_after: float
    lost_bytes: int

    def __str__(self) -> str:
        return (
            f"the replica lacked {self.lost_bytes:,} bytes; promoted {self.promoted_after:.2f} s after the kill; "
            f"25 new purchases {self.resumed_after:.2f} s after that"
        )


async def fail_over(group: SentinelGroup, crowd: Crowd) -> FailOver:
    """Kill the primary after a second that its replica never heard of. Raises `AssertionError` if nothing resumes."""
    await until(group.is_whole, seconds=_WHOLE_SECONDS)
    (primary,) = [server for server in group.servers if is_primary(server)]
    (replica,) = [server for server in group.servers if server is not primary]
    replica.pause()
    tell(primary, "CLIENT", "KILL", "TYPE", "replica")  # what is under way would be read at the resume
    cut_off_at, sold = _offset(primary), crowd.sold
    await trio.sleep(LACKING_SECONDS)
    lost_bytes = _offset(primary) - cut_off_at
    assert crowd.sold > sold, "nothing was sold in the second that was to be lost"
    primary.kill()
    replica.resume()
    killed_at = trio.current_time()
    await until(lambda: is_primary(replica), seconds=_PROMOTION_SECONDS)
    promoted_at = trio.current_time()
    await crowd.wait_fresh_sales(seconds=RESUME_SECONDS)
    resumed_at = trio.current_time()
    primary.launch()  # with all that it knew, and believing that it is the primary, until Sentinel tells it
    await trio.to_thread.run_sync(primary.wait_ready)
    return FailOver(promoted_at - killed_at, resumed_at - promoted_at, lost_bytes)


def _offset(primary: EmbeddedValkey) -> int:
    """How many bytes its replicas should have."""
    return int(role_of(primary)[1])


async def run(times: int, binary: Path | None, say: Callable[[str], None]) -> None:
    """Make everything, and fail over that often. Raises `AssertionError` if it was too slow or broke a promise."""
    with running_postgres() as postgres, running_sentinel_group(binary=binary) as group:
        apply_schema(postgres)
        await fail_over_while_buying(postgres.url, group, times, say)


async def fail_over_while_buying(
    database_url: str, group: SentinelGroup, times: int, say: Callable[[str], None]
) -> None:
    """That many fail-overs in one sale, and the judgement. Raises `AssertionError`."""
    async with running_cluster(database_url, group.url, web=2, inventory=2, **_SETTINGS) as (cluster, addresses):
        crowd = Crowd(addresses, int(_SETTINGS["FLASH_SALE_SIZE"]), think_seconds=0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd.run)
            for number in range(1, times + 1):
                await crowd.wait_fresh_sales(seconds=RESUME_SECONDS)
                done = await fail_over(group, crowd)
                say(f"{number:2}: {done}")
            crowd.close()
        assert all("Traceback" not in process.log for process in cluster.processes), cluster.dump()
        await verify(crowd.history, database_url, sold_out=False)
        say(f"{crowd.sold:,} purchases acknowledged, {crowd.history.unknown:,} calls answered 503 or not at all")
        say("nothing lost, nothing sold unasked, every attempt as it was answered; the audit is clean")


def main() -> int:
    parser = argparse.ArgumentParser(
        "scripts/redis-failover", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("--times", type=int, choices=range(1, 101), default=10, metavar="N", help="fail-overs (10)")
    parser.add_argument("--server", type=Path, metavar="FILE", help="another redis-server or valkey-server to try")
    options = parser.parse_args()
    try:
        trio.run(run, options.times, options.server, _say)
    except Exception as error:
        if not isinstance(first := first_of(error), AssertionError | trio.TooSlowError):
            raise
        _say(f"FAILED: {first or 'it took too long'}")
        return 1
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
