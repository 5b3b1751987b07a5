"""The Redis of these tests: the real one and its twin."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.testing.conftest import NewLink
from tests.testing.conftest import new_link as new_link  # a fixture


@pytest.fixture
def clock(request: pytest.FixtureRequest, new_link: NewLink) -> MockClock:
    """Trio's clock in a test that takes it: it skips every wait on the twin, and keeps real time on a real Redis."""
    is_twin = request.node.callspec.params["new_link"] == "twin"
    return MockClock(autojump_threshold=0) if is_twin else MockClock(rate=1)
