"""What comes from Redis, once somebody else can write there, or speaks in its place.

Four kinds of bursts. `messages`: sealed entries, mutated, some of them under a right seal, as a later release or a bug
would write them. `answers`: values of any shape where a command expects another. `wire`: bytes of the protocol. `keys`:
somebody writes over all keys of a running cluster while buyers buy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.fuzz.findings import Findings, quiet_logs
from tests.fuzz.redis_answers import run_answers
from tests.fuzz.redis_keys import run_keys
from tests.fuzz.redis_messages import run_messages
from tests.fuzz.redis_wire import run_wire

_KINDS: tuple[Callable[[int, Findings], None], ...] = (run_messages, run_answers, run_wire, run_keys)


def run(seeds: Iterable[int]) -> Findings:
    findings = Findings()
    with quiet_logs():
        for seed in seeds:
            _KINDS[seed % len(_KINDS)](seed, findings)
    return findings
