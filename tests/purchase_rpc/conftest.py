"""The Redis of these tests: the real one and its twin."""

from __future__ import annotations

from tests.testing.conftest import new_link as new_link  # a fixture
