"""GET /metrics of one process: its own values, with those of the processes that share its port."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from flash.metrics.exposition import format_of, render
from flash.metrics.shared_values import SharedValues
from flash.metrics.values import Values

_SHARE_SECONDS = 1.0
FRESH_SECONDS = 0.5
"""Whoever asks within this time gets the same page: a crowd that asks must not cost buyers more than one does."""


@dataclass(frozen=True, slots=True)
class _Page:
    text: bytes
    content_type: bytes
    made_at: float


class MetricsPage:
    """`collect()` reads the values of this process. Nothing is computed unless somebody asks or shares."""

    def __init__(self, collect: Callable[[], Values], shared: SharedValues | None = None) -> None:
        self._collect = collect
        self._shared = shared
        self._turn = trio.Lock()
        self._pages: dict[str, _Page] = {}

    async def text(self, accept: str) -> tuple[bytes, bytes]:
        """The page and its content type. A thread writes it: that takes 10 ms, which no buyer should wait."""
        wanted = format_of(accept)
        async with self._turn:
            page = self._pages.get(wanted)
            if page is None or trio.current_time() >= page.made_at + FRESH_SECONDS:
                made_at, values = trio.current_time(), self._collect()
                text, content_type = await trio.to_thread.run_sync(self._write, values, wanted)
                page = self._pages[wanted] = _Page(text, content_type, made_at)
        return page.text, page.content_type

    def _write(self, values: Values, wanted: str) -> tuple[bytes, bytes]:
        return render(values if self._shared is None else self._shared.total(values), wanted)

    async def run(self) -> None:
        """Leave our values for the others once a second, and a last time at the end."""
        if self._shared is None:
            return
        try:
            while True:
                self._shared.write(self._collect())
                await trio.sleep(_SHARE_SECONDS)
        finally:
            self._shared.write(self._collect())
