"""The stores that tests share. Each worker of pytest-xdist starts its own, when the first test asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import coverage
import pytest

from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.testing import cluster, stores
from tests.http.site import serving as serving  # a fixture


def pytest_configure() -> None:
    if coverage.Coverage.current() is not None:
        cluster.end_seconds = 5.0


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for all tests of this worker; ask for `postgres` to get a database in it."""
    with stores.running_postgres() as server:
        stores.apply_schema(server)
        yield server


@pytest.fixture
def postgres(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database of one's own with schema.sql applied and nothing in it."""
    with stores.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of one's own, schema applied, to be stopped, killed, paused and started again (0.6 s to make)."""
    with stores.running_postgres() as server:
        stores.apply_schema(server)
        yield server


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """A Valkey of one's own, empty: `.url`, and to be stopped, killed, paused and started again."""
    with stores.running_valkey() as server:
        yield server
