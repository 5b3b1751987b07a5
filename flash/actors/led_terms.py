"""What this host leads, since when, and what became of its earlier terms: for whoever watches. It decides nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from flash.domain import Epoch, SaleId, Term

_EVENTS_MAX = 256


@dataclass(frozen=True, slots=True)
class LedTerm:
    """A term of ours, which began at `since` (Trio time)."""

    epoch: Epoch
    since: float


@dataclass(frozen=True, slots=True)
class TermEvent:
    """At `at` (Trio time) a term of `sale_id` began, or failed for a `reason`. Epoch 0: it failed before it began."""

    at: float
    sale_id: SaleId
    epoch: Epoch
    reason: str | None = None
    is_take_over: bool = False
    """Whether somebody else had led the sale before."""


class LedTerms:
    """`begun`, `taken_over` and `failed` count terms. `events` are the latest ones, oldest first."""

    def __init__(self) -> None:
        self.current: dict[SaleId, LedTerm] = {}
        self.begun = self.taken_over = self.failed = 0
        self._put_down: dict[SaleId, Epoch] = {}  # our own terms that ended for want of buyers
        self.events: deque[TermEvent] = deque(maxlen=_EVENTS_MAX)

    @contextmanager
    def leading(self, sale_id: SaleId) -> Iterator[None]:
        """Around all that is done to lead a sale. An exception is a failure, a cancellation is none."""
        try:
            yield
        except trio.Cancelled:
            if sale_id in self.current:
                self._put_down[sale_id] = self.current[sale_id].epoch
            raise
        except Exception as error:
            self.failed += 1
            led = self.current.get(sale_id)
            epoch = Epoch(0) if led is None else led.epoch
            self._note(TermEvent(trio.current_time(), sale_id, epoch, type(error).__name__))
            raise
        finally:
            self.current.pop(sale_id, None)

    def began(self, term: Term) -> None:
        """The sale is led from now on."""
        now = trio.current_time()
        self.current[term.sale_id] = LedTerm(term.epoch, now)
        is_first = self._put_down.pop(term.sale_id, 0) == term.epoch - 1
        event = TermEvent(now, term.sale_id, term.epoch, is_take_over=not is_first)
        self.begun += 1
        self.taken_over += event.is_take_over
        self._note(event)

    def _note(self, event: TermEvent) -> None:
        self.events.append(event)
