"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flash.testing.stores import private_directory


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, since sockets lie below it. Removed at the end."""
    with private_directory() as path:
        yield path
