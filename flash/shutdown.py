"""How long each part of a stop may take, each number once. Relations between them are checked with the settings.

A stop runs from the outside in: whoever started the processes sends SIGTERM, a supervisor passes it to its copies, a
copy answers what it has accepted. Each must wait longer than the ones inside it, or it kills them in mid-answer.
"""

from __future__ import annotations

HONCHO_KILL_SECONDS = 5.0
"""How long after the first process has ended honcho kills the others (`honcho.manager.KILL_WAIT`)."""

WORK_SHARE_OF_DRAIN = 0.8
"""The workers of a stopping web process end after this share of its drain, before its connections do: a 503 is an
answer, a closed connection is none."""

HANDOVER_SECONDS = 0.25
"""How long a stopping inventory process goes on leading: web processes told to stop in the same instant get their
last answers, and a successor is not kept waiting for longer."""

REPEAT_SECONDS = 0.5
"""A signal that follows the first one sooner than this is taken for the same one: a web process hears of a stop from
whoever signals its process group, and then from its supervisor."""

EXIT_SECONDS = 1.0
"""How long after its drain a process may take to end before it is killed."""

STORES_STOP_SECONDS = 0.7
"""How long the embedded stores may take for an orderly stop, even if the processes have used up all of their time."""


def process_stop_seconds(drain_seconds: float, prestop_seconds: float = 0.0) -> float:
    """How long after SIGTERM a process of the service is killed, by its supervisor or by `flash up`."""
    return prestop_seconds + drain_seconds + EXIT_SECONDS
