"""Which process this is, for the board and for its readers."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from flash import __version__
from flash.board.messages import Card, Led, Queue

_NAME_BYTES = 8


@dataclass(frozen=True, slots=True)
class Identity:
    """`name` is random, since a host may use a pid again. `started_at` is a Trio time."""

    name: str
    role: str
    host: str
    pid: int
    started_at: float

    @classmethod
    def of_this_process(cls, role: str) -> Identity:
        return cls(secrets.token_hex(_NAME_BYTES), role, socket.gethostname(), os.getpid(), trio.current_time())

    @property
    def age_seconds(self) -> float:
        return trio.current_time() - self.started_at

    def card(self, queues: Sequence[Queue], errors: Mapping[str, str], led: Sequence[Led] = ()) -> Card:
        return Card(self.name, self.role, self.host, self.pid, __version__, self.age_seconds, queues, errors, led)
