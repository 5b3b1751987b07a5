"""The stores that tests share. Each pytest-xdist worker starts its own when the first test asks for one."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import coverage
import pytest

from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.testing import cluster, stores
from tests.certificates import tls as tls  # a fixture
from tests.http.site import serving as serving  # a fixture
from tests.waiting import waited_for

MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 4 * 2**30


def pytest_configure() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts its background jobs. What we start would inherit it, and tests of Ctrl-C would never end.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "TMPDIR" not in os.environ and is_roomy(MEMORY):
        stores.parent_directory = MEMORY
    if coverage.Coverage.current() is not None:
        cluster.end_seconds = 5.0


def is_roomy(folder: Path) -> bool:
    """Whether stores may be kept in `folder`, a file system in memory. Tests need not wait for a disk.

    There a PostgreSQL server is made in 0.6 s instead of 3 s, and a database in 0.04 s instead of 0.4 s. Its settings
    stay, and what it promises: no test takes the machine's power away. Whoever sets TMPDIR chooses the place.
    """
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize > MEMORY_BYTES_MIN


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Whoever waited for too long says for what."""
    report = yield
    if report.failed and call.excinfo is not None and (waits := waited_for(call.excinfo.value)):
        report.sections.append(("waited for too long", "\n".join(waits)))
    return report


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for all tests of this worker; ask for `postgres` to get a database in it."""
    with stores.running_postgres() as server:
        stores.apply_schema(server)
        yield server


@pytest.fixture
def postgres(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database for this test alone: the schema is applied, the tables are empty."""
    with stores.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server for this test alone, to stop, kill, pause and restart. It takes 0.6 s to make."""
    with stores.running_postgres() as server:
        stores.apply_schema(server)
        yield server


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """An empty Valkey for this test alone, to stop, kill, pause and restart."""
    with stores.running_valkey() as server:
        yield server
