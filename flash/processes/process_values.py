"""What any process says of itself in /metrics."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from flash import __version__
from flash.board.identity import Identity
from flash.board.messages import Queue
from flash.metrics import families
from flash.metrics.counts import BatchCounts
from flash.metrics.values import Values
from flash.stores.postgres import Postgres
from flash.stores.redis_link import RedisLink


def process_values(identity: Identity, databases: Iterable[Postgres], links: Iterable[RedisLink]) -> Values:
    values = Values()
    values.put(families.PROCESSES, 1, identity.role, __version__)
    values.put(families.STARTED, time.time() - identity.age_seconds)
    values.put(families.CPU, time.process_time(), identity.role)
    if (memory := _resident_bytes()) is not None:
        values.put(families.MEMORY, memory, identity.role)
    values.put(families.CONNECTS, sum(database.connects for database in databases), "database")
    values.put(families.CONNECTS, sum(link.connects for link in links), "redis")
    return values


def put_queues(values: Values, queues: Sequence[Queue]) -> None:
    for queue in queues:
        values.put(families.QUEUE, queue.waiting, queue.name)
        if queue.wait_seconds is not None:
            values.put(families.QUEUE_WAIT, queue.wait_seconds, queue.name)


def put_batches(values: Values, batches: BatchCounts, queue: str) -> None:
    values.observe(families.BATCH_SIZE, batches.sizes, queue)
    values.observe(families.BATCH_SECONDS, batches.seconds, queue)
    values.put(families.BATCHES_FAILED, batches.failed, queue)


def _resident_bytes() -> int | None:
    """None where the system does not say it in /proc."""
    if sys.platform != "linux":
        return None
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
