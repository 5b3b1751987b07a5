"""What became of hostile inputs: how often each answer was given, and what went wrong under which seed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

BURST = 50
"""Inputs under one seed. They share what they are aimed at, so a seed is the least that can be repeated."""
_SHOWN_MAX = 2_000


@dataclass(frozen=True)
class Failure:
    seed: int
    what: str


@dataclass
class Findings:
    """`answers`: each kind of answer, with how many inputs got it."""

    inputs: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def note(self, answer: str) -> None:
        self.inputs += 1
        self.answers[answer] += 1

    def fail(self, seed: int, value: object, why: object) -> None:
        """`value` got no defined answer, because of `why`."""
        self.note("FAILED")
        said = f"{type(why).__name__}: {why}" if isinstance(why, BaseException) else str(why)
        self.failures.append(Failure(seed, f"{said[:_SHOWN_MAX]}\n    {repr(value)[:_SHOWN_MAX]}"))

    def add(self, other: Findings) -> None:
        self.inputs += other.inputs
        self.answers += other.answers
        self.failures += other.failures


Target = Callable[[Iterable[int]], Findings]
"""Runs the bursts of these seeds."""


def lucks(seed: int) -> Iterator[Random]:
    """The luck of each input of a burst, which follows from the seed and its number alone."""
    for number in range(BURST):
        yield Random(seed * 1_000_003 + number)


@contextmanager
def loud_logs() -> Iterator[list[str]]:
    """What the project logs as an error meanwhile: it must have said nothing like that. Quieter lines are dropped."""
    heard: list[str] = []
    handler, log = _Loud(heard), logging.getLogger("flash")
    before = log.level, log.propagate
    log.setLevel(logging.ERROR)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield heard
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Drop what the project logs meanwhile: most of it is about what was done to it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class _Loud(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__()
        self._heard = heard
        self.setLevel(logging.ERROR)
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(self.format(record))
