"""A web process lets in as many clients as it should, whatever the shell that started it allows by default."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging, resource, sys
from flash.processes.open_files import allow_connections
logging.basicConfig(stream=sys.stdout, format="%(message)s")
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
allow_connections(wanted)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed", "warns"),
    [
        (256, 1_024, 500, "700 1024", False),
        (1_024, 1_024, 500, "1024 1024", False),
        (256, 1_024, 5_000, "1024 1024", True),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_must_be(
    soft: int, hard: int, wanted: int, allowed: str, warns: bool
) -> None:
    command = [sys.executable, "-c", PROGRAM, *map(str, (soft, hard, wanted))]
    *warnings, limits = subprocess.check_output(command, text=True).splitlines()
    assert limits == allowed
    assert ["FLASH_CONNECTIONS_MAX=5000 needs 5200" in line for line in warnings] == [True] * warns
