"""Names for requests whose clients gave none: no two are alike, in any process, after any restart or fork.

A random number for each request would cost a system call each, so a process draws one and counts.
"""

from __future__ import annotations

import itertools
import os
import secrets


class RequestNames:
    """128 random bits that this process alone has, and a counter. A forked child draws its own."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def next(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"

    def _renew(self) -> None:
        self._prefix = secrets.token_urlsafe(16)
        self._numbers = itertools.count(1)
