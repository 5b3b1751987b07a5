"""Stores that the tests of a module share, since what they look at is made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.testing import stores


@pytest.fixture(scope="module")
def postgres_of_module(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    with stores.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def valkey_of_module() -> Iterator[EmbeddedValkey]:
    with stores.running_valkey() as server:
        yield server
